/**
 * `deno task test` behind its set-up: every test, in three lanes where there are two cores. One lane has what waits for
 * processes, ports and clocks, two have what compiles and computes, of which not all uses both cores. Files and options that are named go to `deno test` as
 * they are.
 */
import { availableParallelism } from "node:os";
import { ROOT } from "../paths.ts";
import { fail, green, red, yellow } from "../terminal.ts";
import { add, NONE, summary, withoutColours } from "./counts.ts";
import { type Group, groupFiles, listTestFiles } from "./groups.ts";
import { type Job, type Result, runFailedAgain, runLanes, stopAll } from "./lanes.ts";

/** Once for all groups, which go without it. */
const TYPES: Job = { name: "type check", args: ["check", "."], isTest: false };

function testJob({ name, files }: Group): Job {
  return { name, args: ["test", "--allow-all", "--no-check", ...files], isTest: true };
}

/** Says at the end, where people look, what failed and how many tests ran. */
function report(results: readonly Result[], seconds: number): boolean {
  const failed = results.filter(({ isOk }) => !isOk);
  for (const { job, output } of failed) {
    const text = withoutColours(output);
    const at = text.indexOf("\n ERRORS");
    console.log(`${red(`✗ ${job.name}`)}\n${at < 0 ? text.slice(-4_000) : text.slice(at)}`);
  }
  const isOk = failed.length === 0;
  const counts = results.reduce((sum, { counts }) => add(sum, counts ?? NONE), NONE);
  for (const { job } of failed) console.log(red(`Failed: ${job.name}`));
  console.log((isOk ? green : red)(summary(counts, isOk, seconds)));
  return isOk;
}

async function main(): Promise<void> {
  if (Deno.args.length > 0) {
    const args = ["test", "--allow-all", ...Deno.args];
    const { code } = await new Deno.Command(Deno.execPath(), { args, stdin: "inherit" }).spawn().status;
    Deno.exit(code);
  }
  for (const [name, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    Deno.addSignalListener(name, () => {
      stopAll();
      Deno.exit(code);
    });
  }
  const start = performance.now();
  const groups = groupFiles(await listTestFiles(ROOT));
  const computing = groups.filter(({ computes }) => computes).map(testJob);
  const waiting = [TYPES, ...groups.filter(({ computes }) => !computes).map(testJob)];
  const numLanes = availableParallelism() > 1 ? 3 : 1;
  const first = await runLanes({ computing, waiting, numLanes }, console.log);
  const waits = (job: Job) => job.isTest && waiting.includes(job);
  const [passedAlone, results] = await runFailedAgain(first, waits, console.log);
  for (const name of passedAlone) console.log(yellow(`Failed beside others and passed alone: ${name}`));
  if (!report(results, (performance.now() - start) / 1_000)) Deno.exit(1);
}

if (import.meta.main) await main().catch(fail);

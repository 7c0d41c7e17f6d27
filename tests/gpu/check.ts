/**
 * Tests on a GPU: `deno task test:gpu`. Builds everything for the card, runs the kernels' tests (under compute-sanitizer
 * too, where it is), then the conformance suite of the CUDA backend on the device. Exit code 77 where there is no GPU;
 * `--build` builds all of it there too.
 */
import { buildAddon, buildDevicePrograms } from "@tessera/native";
import { ROOT } from "../../infra/tools/paths.ts";
import { findOnPath } from "../../infra/tools/process.ts";
import { archOf, findGpu, requireGpu } from "./card.ts";
import { factsOf, record } from "./results.ts";
import { requireToolkit } from "./toolkit.ts";

/** One thing that was run, and whether it passed. */
interface Outcome {
  readonly what: string;
  readonly passed: boolean;
  readonly seconds: number;
}

async function runStep(what: string, command: string, args: readonly string[], env = {}): Promise<Outcome> {
  console.log(`\n== ${what}`);
  const start = performance.now();
  const { success } = await new Deno.Command(command, { args: [...args], env, cwd: ROOT }).spawn().status;
  return { what, passed: success, seconds: (performance.now() - start) / 1_000 };
}

const buildsOnly = Deno.args.includes("--build");
const found = await findGpu();
const archs = "missing" in found ? (["90a"] as const) : [archOf(found)];
if ("missing" in found && !buildsOnly) await requireGpu("test:gpu");
const toolkit = await requireToolkit();
const { tests } = await buildDevicePrograms({ toolkit, archs, progress: console.log });
await buildAddon({ cuda: { toolkit, archs }, progress: console.log });
if (buildsOnly) {
  console.log("Built for the GPU; nothing was run.");
  Deno.exit(0);
}

const card = await requireGpu("test:gpu");
const outcomes = [await runStep("kernels", tests, [])];
const sanitizer = await findOnPath("compute-sanitizer");
if (sanitizer === null) console.log("\ncompute-sanitizer is not on PATH: memcheck and racecheck were not run");
for (const tool of sanitizer === null ? [] : ["memcheck", "racecheck", "initcheck", "synccheck"]) {
  outcomes.push(await runStep(tool, sanitizer!, ["--tool", tool, "--error-exitcode", "1", tests]));
}
const files = ["cuda_test.ts", "cuda_quantised_test.ts"].map((name) => `tests/conformance/${name}`);
const suite = ["test", "--allow-all", ...files];
outcomes.push(await runStep("conformance", Deno.execPath(), suite, { TESSERA_TEST_GPU: "1" }));
console.log();
for (const { what, passed, seconds } of outcomes) {
  console.log(`${passed ? "passed" : "FAILED"}  ${what} (${seconds.toFixed(1)} s)`);
}
console.log(`Recorded in ${await record("test", await factsOf(card, toolkit.version), outcomes)}`);
if (outcomes.some(({ passed }) => !passed)) Deno.exit(1);

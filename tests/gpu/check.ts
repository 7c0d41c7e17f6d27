/**
 * Tests on a GPU: `deno task test:gpu`. Builds everything for the card, runs the kernels' tests (under compute-sanitizer
 * too, where it is to be had), then the conformance suite of the CUDA backend on the device.
 *
 * - `--build` builds all of that on any machine and runs nothing.
 * - `--emulated` goes the same way with an emulated GPU, but for the sanitizer.
 * - `--filter TEXT` runs tests with this in their names alone; `--results FOLDER` is where the record goes.
 *
 * Exit code 0: all passed, or all was built; 1: something did not; 77: no GPU, nothing was run.
 */
import { parseArgs } from "node:util";
import { ensureComputeSanitizer } from "../../infra/tools/cuda.ts";
import { findOnPath } from "../../infra/tools/process.ts";
import { buildAnyway, type GpuMachine, ownArgs, requireMachine } from "./machine.ts";
import { factsOf, record } from "./results.ts";
import { type Outcome, outcomeLines, runStep, skip } from "./steps.ts";

const SANITIZERS = ["memcheck", "racecheck", "initcheck", "synccheck"];
/** Files whose tests are of the CUDA backend all, and those of which some are, by name. */
const CUDA_FILES = ["cuda_test.ts", "cuda_quantised_test.ts"];
const MIXED_FILES = ["engine_contract_test.ts", "sampling_test.ts", "tensor_parallel_test.ts"];
const CUDA_NAMES = /cuda|GPU/;

/** Tests take seconds on a GPU; under the sanitizer a hundred times as long. */
const TEST_MINUTES = 15, SANITIZER_MINUTES = 120, CONFORMANCE_MINUTES = 60;

async function findSanitizer({ tools, isEmulated }: GpuMachine): Promise<string | { missing: string }> {
  const onPath = await findOnPath("compute-sanitizer");
  if (onPath !== null) return onPath;
  if (isEmulated) return { missing: "an emulated GPU has its own (deno task test)" };
  for (const path of [`${tools}/compute-sanitizer`, `${tools}/../compute-sanitizer/compute-sanitizer`]) {
    if (await Deno.stat(path).then(({ isFile }) => isFile, () => false)) return path;
  }
  try {
    return await ensureComputeSanitizer();
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) };
  }
}

async function runAll(machine: GpuMachine, filter: string, done: (outcome: Outcome) => Promise<void>): Promise<void> {
  const { built: { tests, addon }, env, card } = machine;
  const kernels = { env, args: filter === "" ? [] : [filter] };
  await done(await runStep({ ...kernels, what: "kernels", command: tests, limitMinutes: TEST_MINUTES }));
  const sanitizer = await findSanitizer(machine);
  for (const tool of SANITIZERS) {
    const args = ["--tool", tool, "--error-exitcode", "1", tests, ...kernels.args];
    await done(
      typeof sanitizer === "string"
        ? await runStep({ env, what: tool, command: sanitizer, args, limitMinutes: SANITIZER_MINUTES })
        : skip(tool, sanitizer.missing),
    );
  }
  const suiteEnv = { ...env, NO_COLOR: "1", TESSERA_TEST_GPU: addon, TESSERA_TEST_GPUS: `${card.count}` };
  for (const [what, files, names] of [["backend", CUDA_FILES, /./], ["contract", MIXED_FILES, CUDA_NAMES]] as const) {
    const wanted = filter === "" ? names.source : `(?=.*(?:${names.source}))(?=.*${RegExp.escape(filter)})`;
    const args = [
      "test",
      "--allow-all",
      "--no-check",
      `--filter=/${wanted}/`,
      ...files.map((name) => `tests/conformance/${name}`),
    ];
    const proof = filter === "" ? { proof: /\b[1-9]\d* passed/ } : {};
    const step = { what: `conformance: ${what}`, command: Deno.execPath(), args, env: suiteEnv, ...proof };
    await done(await runStep({ ...step, limitMinutes: CONFORMANCE_MINUTES }));
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: ownArgs(),
    options: {
      build: { type: "boolean", default: false },
      emulated: { type: "boolean", default: false },
      filter: { type: "string", default: "" },
      results: { type: "string" },
    },
  });
  if (values.build) {
    const start = performance.now();
    const { arch, built } = await buildAnyway(console.log);
    for (const [what, path] of Object.entries(built)) {
      console.log(`${what.padEnd(6)} ${((await Deno.stat(path)).size / 2 ** 20).toFixed(1).padStart(6)} MiB  ${path}`);
    }
    const seconds = ((performance.now() - start) / 1_000).toFixed(0);
    console.log(`Built for sm_${arch} in ${seconds} s; nothing was run.`);
    return 0;
  }
  const options = { isEmulated: values.emulated, results: values.results, progress: console.log };
  const machine = await requireMachine("test:gpu", options);
  const { card, compiler } = machine;
  console.log(`\n${card.count} x ${card.name}, driver ${card.driver}, kernels by ${compiler}`);
  const facts = await factsOf(machine);
  const outcomes: Outcome[] = [];
  let path = "";
  await runAll(machine, values.filter, async (outcome) => {
    outcomes.push(outcome);
    path = await record({ ...facts, kind: "test", outcomes }, machine.results);
  });
  console.log(`\n${outcomeLines(outcomes)}\nRecorded in ${path}`);
  return outcomes.some(({ outcome }) => outcome === "failed") ? 1 : 0;
}

if (import.meta.main) {
  Deno.exitCode = await main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    return 1;
  });
}

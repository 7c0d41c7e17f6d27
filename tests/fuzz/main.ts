/** Runs a fuzzer: `deno task fuzz tiler|engine|api [cases] [seed]`. Exit code 1 on any trap, hang, growth, bad access or 5xx. */
import { runSanitized } from "../sanitize.ts";
import { startStack } from "@tessera/infra/stack";
import { fuzzApi } from "./api.ts";
import { fuzzTiler } from "./tiler.ts";

const DEFAULT_FILES = 20_000;
const DEFAULT_SECONDS = 300;
const DEFAULT_CASES = 200_000;
/** Resident memory may end this much above where it was after a tenth of the files: heaps settle late. */
const MAX_GROWTH = 1.25;
const SLACK_MIB = 32;

async function tiler(numFiles: number, seed: number): Promise<boolean> {
  const began = performance.now();
  const report = await fuzzTiler(numFiles, seed, Math.min(4, navigator.hardwareConcurrency));
  const seconds = (performance.now() - began) / 1000;
  console.log(`${numFiles} files from seed ${seed} in ${seconds.toFixed(0)} s`);
  for (const [name, count] of Object.entries(report.outcomes).sort(([, a], [, b]) => b - a)) {
    console.log(`${String(count).padStart(8)}  ${name}`);
  }
  const [early, late] = report.residentBytes.map((bytes) => Math.round(bytes / 1024 / 1024));
  console.log(`resident memory: ${early} MiB after a tenth, ${late} MiB at the end`);
  const hasGrown = late! > early! * MAX_GROWTH + SLACK_MIB;
  if (hasGrown) console.error("FAULT memory has grown");
  for (const fault of report.faults) console.error(`FAULT ${fault}`);
  console.log(report.faults.length === 0 && !hasGrown ? "no trap, no hang, no growth" : "failed");
  return report.faults.length === 0 && !hasGrown;
}

/** The engine's readers (JSON, safetensors, configurations) and steps, under the address sanitizer. */
async function engine(numCases: number, seed: number): Promise<boolean> {
  const env = { TESSERA_FUZZ_CASES: String(numCases), TESSERA_FUZZ_SEED: String(seed) };
  return await runSanitized("address", "fuzz_", env);
}

/** The HTTP interface against its own document, on a whole stack. */
async function api(seconds: number, seed: number): Promise<boolean> {
  const stack = await startStack({
    port: 0,
    log: (part, line) => {
      if (line.includes('"level":"error"')) console.log(`${part}: ${line}`);
    },
  });
  try {
    const { isClean, text } = await fuzzApi(stack.url, seconds, seed);
    console.log(text);
    return isClean;
  } finally {
    await stack.stop();
  }
}

const FUZZERS: Record<string, (numCases: number | undefined, seed: number) => Promise<boolean>> = {
  tiler: (numFiles, seed) => tiler(numFiles ?? DEFAULT_FILES, seed),
  engine: (numCases, seed) => engine(numCases ?? DEFAULT_CASES, seed),
  api: (seconds, seed) => api(seconds ?? DEFAULT_SECONDS, seed),
};

const [name, count, seed] = Deno.args;
const fuzzer = FUZZERS[name ?? ""];
if (fuzzer === undefined) {
  console.error(`usage: deno task fuzz ${Object.keys(FUZZERS).join("|")} [cases, of api: seconds] [seed]`);
  Deno.exit(2);
}
if (!await fuzzer(count === undefined ? undefined : Number(count), Number(seed ?? 1))) Deno.exit(1);

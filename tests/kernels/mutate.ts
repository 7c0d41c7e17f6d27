/**
 * Checks the kernels' tests themselves: index expressions of kernels are changed at random, one at a time, and the tests
 * must notice: `deno task mutate:kernels [--count 100] [--seed 1] [--file norm.cu] [--minutes 20] [--verdicts FILE]`. Prints
 * every survivor and the rate, in which those do not count that compile to the very same instructions; exit code 1 below
 * 95 %. What became of each is kept in the file of verdicts, so that a run that was cut short goes on where it was, in one
 * table; a file of kernels that has changed since is tried anew.
 */
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { compilesAlike } from "@tessera/native";
import { ensureCudaHeaders } from "../../infra/tools/cuda.ts";
import { openCourt, type Verdict } from "./judge.ts";
import { allMutations, type Mutation, shuffled } from "./mutations.ts";

const KERNELS = fileURLToPath(new URL("../../native/engine/ops/cuda/kernels/", import.meta.url));

/** Share of mutants that must be noticed. */
const LEAST_RATE = 0.95;

/** The tests that are to notice changes in a file. */
export const TEST_OF: Readonly<Record<string, string>> = {
  "attention_tile.cuh": "attention_test.cu",
  "flash_attention.cu": "attention_test.cu",
  "decode_attention.cu": "attention_test.cu",
  "rope.cu": "attention_test.cu",
  "block_select.cuh": "sampling_test.cu",
  "sampling.cu": "sampling_test.cu",
  "feed.cu": "feed_test.cu",
  "coded_product.cu": "product_test.cu",
  "int8_product.cu": "product_test.cu",
  "fp8_rows.cu": "product_test.cu",
  "product_target.cuh": "product_test.cu",
  "norm.cu": "rows_test.cu",
  "activation.cu": "rows_test.cu",
  "embed.cu": "rows_test.cu",
  "patchify.cu": "rows_test.cu",
  "pixel_shuffle.cu": "rows_test.cu",
};

/** What was noticed of one file. */
interface Tally {
  caught: number;
  survived: number;
  equivalent: number;
}

/** What became of a mutation; `key` names it and the text it was made of. */
interface Kept {
  readonly key: string;
  readonly outcome: Fate;
}

/** `equivalent`: survived, and the compiler makes the very same instructions of it. */
type Fate = Verdict["outcome"] | "equivalent";

async function keyOf({ file, line, before, after, text }: Mutation): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return `${file}:${line}: ${before} -> ${after} ${hash.toHex().slice(0, 12)}`;
}

/** Verdicts of earlier runs, by key. */
async function readVerdicts(path: string | undefined): Promise<Map<string, Fate>> {
  const text = path === undefined ? "" : await Deno.readTextFile(path).catch(() => "");
  const lines = text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Kept);
  return new Map(lines.map(({ key, outcome }) => [key, outcome]));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      count: { type: "string", default: "100" },
      seed: { type: "string", default: "1" },
      minutes: { type: "string", default: "20" },
      verdicts: { type: "string" },
      file: { type: "string" },
    },
  });
  const files = Object.keys(TEST_OF).filter((file) => values.file === undefined || file === values.file);
  const all = await Promise.all(files.map(async (file) => allMutations(file, await Deno.readTextFile(KERNELS + file))));
  const queue = shuffled(all.flat(), Number(values.seed));
  console.log(`${queue.length} mutations are possible; ${values.count} of them by seed ${values.seed}`);
  const deadline = performance.now() + Number(values.minutes) * 60_000;
  const judge = await openCourt(["fast", "sanitize", "race"], console.error);
  const headers = await ensureCudaHeaders();
  const known = await readVerdicts(values.verdicts);
  const tallies = new Map<string, Tally>(files.map((file) => [file, { caught: 0, survived: 0, equivalent: 0 }]));
  let left = Number(values.count);
  const work = async () => {
    while (left > 0 && performance.now() < deadline) {
      const mutation = queue.shift();
      if (mutation === undefined) return;
      left--;
      const where = `${mutation.file}:${mutation.line}: ${mutation.before}  ->  ${mutation.after}`;
      const tally = tallies.get(mutation.file)!;
      const key = await keyOf(mutation);
      let outcome = known.get(key);
      if (outcome === undefined) {
        const change = { file: mutation.file, text: mutation.text, test: TEST_OF[mutation.file]! };
        outcome = (await judge(change)).outcome;
        if (outcome === "survived" && await compilesAlike(change, { headers })) outcome = "equivalent";
        if (values.verdicts !== undefined) {
          const kept = { key, outcome } satisfies Kept;
          await Deno.writeTextFile(values.verdicts, `${JSON.stringify(kept)}\n`, { append: true });
        }
      }
      if (outcome === "refused") {
        left++; // the compiler needs no tests
        continue;
      }
      tally[outcome]++;
      console.log(`${outcome.padEnd(10)} ${where}`);
    }
  };
  await Promise.all([work(), work()]);
  if (left > 0 && queue.length > 0) console.log(`\n${left} are still to be tried: the time is up`);
  report(tallies);
}

function report(tallies: ReadonlyMap<string, Tally>): void {
  console.log("\n| kernel | mutants | noticed | survived | equivalent |\n|---|---|---|---|---|");
  const sum = { caught: 0, survived: 0, equivalent: 0 };
  const row = (name: string, { caught, survived, equivalent }: Tally) =>
    console.log(`| ${name} | ${caught + survived} | ${caught} | ${survived} | ${equivalent} |`);
  for (const [file, tally] of tallies) {
    row(`\`${file}\``, tally);
    sum.caught += tally.caught;
    sum.survived += tally.survived;
    sum.equivalent += tally.equivalent;
  }
  row("all", sum);
  const rate = sum.caught / (sum.caught + sum.survived);
  console.log(`\n${(rate * 100).toFixed(1)} % noticed, expected ${LEAST_RATE * 100} % or more`);
  if (!(rate >= LEAST_RATE)) Deno.exit(1);
}

if (import.meta.main) await main();

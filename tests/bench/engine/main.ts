/**
 * Our engine against transformers and llama.cpp on random weights of the 1B's shape: every round runs each side once,
 * with the machine's own limits measured before and after each of ours; figures are medians of rounds.
 */
import { ensurePython } from "../../../infra/tools/python.ts";
import { buildAddon } from "../../../native/mod.ts";
import { median, printTable, summary } from "../report.ts";
import { decodeBytes, ensureCheckpoint, prefillFlops, visionFlops } from "./checkpoint.ts";
import { ensureLlama } from "./llama_build.ts";
import { LlamaSide } from "./llama_cpp.ts";
import { type Limits, Machine } from "./machine.ts";
import { type BenchDtype, type EngineBenchOptions, parseOptions, type Part, USAGE } from "./options.ts";
import type { Figures, Scenario, Side } from "./side.ts";
import { TesseraSide } from "./tessera.ts";
import { TransformersSide } from "./transformers.ts";

/** Which figure a part is, and whether more is better. */
const FIGURE = { vision: "visionMs", prefill: "prefill", decode: "decode" } as const;

/** A side with what is compared: ours of a type with its own peers and with our bf16. */
interface Entry {
  readonly side: Side;
  readonly dtype: BenchDtype;
  readonly ours: boolean;
}

/** One side's figures, round by round, with the limits around each of ours. */
interface Runs {
  readonly figures: Figures[];
  readonly limits: Limits[];
}

export async function benchEngine(args: readonly string[]): Promise<void> {
  let options: EngineBenchOptions;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
    Deno.exit(2);
  }
  const machine = await Machine.open(options.threads);
  const entries: Entry[] = [];
  try {
    await openSides(options, entries);
    const { isa, readGBs, bf16GFlops, int8GOps } = await machine.limits();
    console.log(
      `${isa}, ${options.threads} threads: reads ${readGBs} GB/s, bf16 peak ${bf16GFlops} GFLOP/s, ` +
        `int8 ${int8GOps} GOP/s. ${options.rounds} rounds, median ± half the middle half.\n`,
    );
    for (const { scenario, parts } of scenarios(options)) await compare(scenario, parts, entries, machine, options);
  } finally {
    for (const { side } of entries) await side.close();
    await machine.close();
  }
}

async function openSides(options: EngineBenchOptions, entries: Entry[]): Promise<void> {
  const { dtypes, threads } = options;
  const modelPath = await ensureCheckpoint();
  await buildAddon({ progress: (line) => console.log(line) });
  for (const dtype of dtypes) {
    entries.push({ side: await TesseraSide.open(modelPath, dtype, threads), dtype, ours: true });
  }
  if (!options.transformers && !options.llama) return;
  const python = options.python ??
    await ensurePython({ name: "bench-engine/python", requirements: "tests/bench/engine/requirements.txt" });
  if (options.transformers) {
    entries.push({ side: await TransformersSide.open(python, modelPath, threads), dtype: "bf16", ours: false });
  }
  if (!options.llama) return;
  const folder = options.llamaFolder ?? await ensureLlama(python);
  for (const type of dtypes) {
    const side = await LlamaSide.open({ folder, python, modelPath, type, threads });
    entries.push({ side, dtype: type, ours: false });
  }
}

function scenarios(options: EngineBenchOptions): { scenario: Scenario; parts: Part[] }[] {
  const has = (part: Part) => options.parts.includes(part);
  const out: { scenario: Scenario; parts: Part[] }[] = [];
  if (has("vision")) out.push({ scenario: { kind: "vision" }, parts: ["vision"] });
  for (const context of options.contexts) {
    for (const batch of options.batches) {
      const parts: Part[] = [];
      if (has("prefill") && batch === 1) parts.push("prefill");
      if (has("decode")) parts.push("decode");
      if (parts.length === 0) continue;
      const steps = has("decode") ? options.steps : 0;
      out.push({ scenario: { kind: "text", context, batch, steps, prefill: parts[0] === "prefill" }, parts });
    }
  }
  return out;
}

async function compare(
  scenario: Scenario,
  parts: readonly Part[],
  entries: readonly Entry[],
  machine: Machine,
  { rounds }: EngineBenchOptions,
): Promise<void> {
  const runs = entries.map((): Runs => ({ figures: [], limits: [] }));
  // Code, caches and pages are warm in every round that counts.
  for (const { side, ours } of entries) if (ours) await side.measure(scenario);
  for (let round = 0; round < rounds; round++) {
    for (const [index, { side, ours }] of entries.entries()) {
      const before = ours ? await machine.limits() : null;
      runs[index]!.figures.push(await side.measure(scenario));
      if (before !== null) runs[index]!.limits.push(mean(before, await machine.limits()));
    }
  }
  for (const part of parts) print(scenario, part, entries, runs);
}

function mean(a: Limits, b: Limits): Limits {
  return {
    isa: a.isa,
    readGBs: (a.readGBs + b.readGBs) / 2,
    // What another program takes away for a moment is no lower peak.
    bf16GFlops: Math.max(a.bf16GFlops, b.bf16GFlops),
    int8GOps: Math.max(a.int8GOps, b.int8GOps),
  };
}

function print(scenario: Scenario, part: Part, entries: readonly Entry[], runs: readonly Runs[]): void {
  const of = (index: number) => runs[index]!.figures.map((figures) => figures[FIGURE[part]] ?? Number.NaN);
  const oursOf = (dtype: BenchDtype) => entries.findIndex((entry) => entry.ours && entry.dtype === dtype);
  console.log(title(scenario, part));
  const rows = entries.flatMap(({ side, dtype, ours }, index) => {
    const values = of(index);
    if (values.every(Number.isNaN)) return [];
    const ratios = (["bf16", "int8", "nf4"] as const).map((type) => {
      const mine = oursOf(type);
      const related = ours ? dtype === "bf16" && type !== "bf16" : dtype === type || dtype === "bf16";
      if (mine < 0 || !related) return "";
      return spread(of(mine).map((value, round) => faster(part, value, values[round]!)));
    });
    const share = ours
      ? spread(values.map((v, round) => shareOf(scenario, part, dtype, v, runs[index]!.limits[round]!)), "%")
      : "";
    return [[`  ${side.name}`, summary(values), share, ...ratios]];
  });
  const limit = part === "decode" ? "of reading" : "of peak";
  printTable(["", part === "vision" ? "ms" : "tokens/s", limit, "our bf16 is", "our int8 is", "our nf4 is"], rows);
  console.log();
}

function title(scenario: Scenario, part: Part): string {
  if (scenario.kind === "vision") return "Vision, one tile of 448 px";
  const { context, batch } = scenario;
  return part === "prefill" ? `Prefill, ${context} tokens` : `Decode, batch ${batch}, ${context} tokens of context`;
}

/** How much faster `ours` is than `theirs`. */
function faster(part: Part, ours: number, theirs: number): number {
  return part === "vision" ? theirs / ours : ours / theirs;
}

/** Share of what arithmetic (vision, prefill) or reading (decode) allows. */
function shareOf(scenario: Scenario, part: Part, dtype: BenchDtype, value: number, limits: Limits): number {
  const peak = 1e9 * (dtype === "int8" ? limits.int8GOps : limits.bf16GFlops);
  if (scenario.kind === "vision") return visionFlops() / (value / 1000) / peak;
  const { context, batch } = scenario;
  if (part === "prefill") return prefillFlops(context) * value / context / peak;
  return decodeBytes(dtype, context, batch) * value / batch / (1e9 * limits.readGBs);
}

/** Median with the smallest and the largest, as a factor or in percent. */
function spread(values: readonly number[], unit: "x" | "%" = "x"): string {
  const text = (value: number) => unit === "%" ? (100 * value).toFixed(0) : value.toFixed(2);
  return `${text(median(values))}${unit === "%" ? " %" : "x"} (${text(Math.min(...values))}-${
    text(Math.max(...values))
  })`;
}

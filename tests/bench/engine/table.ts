/** Owns what a scenario's runs amount to: medians, shares of the machine's limits, ratios of each round; as a table and as JSON. */
import { median, printTable, summary } from "../report.ts";
import { decodeBytes, prefillFlops, visionFlops } from "./checkpoint.ts";
import type { Limits } from "./machine.ts";
import type { BenchDtype, Part } from "./options.ts";
import type { Entry, Run } from "./runs.ts";
import type { Scenario } from "./side.ts";

/** Which figure a part is. */
const FIGURE = { vision: "visionMs", prefill: "prefill", decode: "decode" } as const;

/** One side's result in one scenario, for programs. */
export interface Result {
  readonly title: string;
  readonly part: Part;
  readonly side: string;
  readonly unit: "ms" | "tokens/s";
  readonly median: number;
  /** Round by round, as everything below. */
  readonly values: readonly number[];
  /** Of the multiply-add peak (vision, prefill) or of reading (decode), measured around the run. */
  readonly shares: readonly number[];
  readonly limits: readonly Limits[];
  /** Null where unknown. */
  readonly othersCpu: readonly (number | null)[];
  /** How much faster ours of a type is. */
  readonly ratios: Partial<Record<BenchDtype, readonly number[]>>;
}

export function resultsOf(
  scenario: Scenario,
  part: Part,
  entries: readonly Entry[],
  runs: readonly (readonly Run[])[],
): Result[] {
  const valuesOf = (index: number) => runs[index]!.map(({ figures }) => figures[FIGURE[part]] ?? Number.NaN);
  return entries.flatMap(({ side, dtype, head, ours }, index) => {
    const values = valuesOf(index);
    if (values.length === 0 || values.every(Number.isNaN)) return [];
    const ratios: Partial<Record<BenchDtype, number[]>> = {};
    for (const type of ["bf16", "int8", "nf4"] as const) {
      const mine = entries.findIndex((entry) => entry.ours && entry.dtype === type);
      const related = ours ? dtype === "bf16" && type !== "bf16" : dtype === type || dtype === "bf16";
      if (mine < 0 || !related) continue;
      ratios[type] = valuesOf(mine).map((value, round) => faster(part, value, values[round]!));
    }
    return [{
      title: title(scenario, part),
      part,
      side: side.name,
      unit: part === "vision" ? "ms" : "tokens/s",
      median: median(values),
      values,
      shares: values.map((value, round) =>
        shareOf(scenario, part, { dtype, head }, value, runs[index]![round]!.limits)
      ),
      limits: runs[index]!.map(({ limits }) => limits),
      othersCpu: runs[index]!.map(({ othersCpu }) => Number.isNaN(othersCpu) ? null : othersCpu),
      ratios,
    }];
  });
}

export function printResults(results: readonly Result[]): void {
  const [first] = results;
  if (first === undefined) return;
  console.log(first.title);
  const rows = results.map(({ side, values, shares, limits, othersCpu, ratios }) => [
    `  ${side}`,
    summary(values),
    spread(shares, "%"),
    median(limits.map(({ readGBs }) => readGBs)).toFixed(1),
    median(limits.map(({ bf16GFlops }) => bf16GFlops)).toFixed(0),
    `${(100 * median(othersCpu.map((share) => share ?? Number.NaN))).toFixed(0)} %`,
    ...(["bf16", "int8", "nf4"] as const).map((type) => ratios[type] === undefined ? "" : spread(ratios[type], "x")),
  ]);
  const limit = first.part === "decode" ? "of reading" : "of peak";
  const beside = ["GB/s", "GFLOP/s", "others"];
  printTable(["", first.unit, limit, ...beside, "our bf16 is", "our int8 is", "our nf4 is"], rows);
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

/** Share of what arithmetic (vision, prefill) or reading (decode) allows a side of this type of weights. */
function shareOf(
  scenario: Scenario,
  part: Part,
  { dtype, head }: Pick<Entry, "dtype" | "head">,
  value: number,
  limits: Limits,
): number {
  const peak = 1e9 * (dtype === "int8" ? limits.int8GOps : limits.bf16GFlops);
  if (scenario.kind === "vision") return visionFlops() / (value / 1000) / peak;
  const { context, batch } = scenario;
  if (part === "prefill") return prefillFlops(context) * value / context / peak;
  return decodeBytes(dtype, head, context, batch) * value / batch / (1e9 * limits.readGBs);
}

/** Median with the smallest and the largest, as a factor or in percent. */
function spread(values: readonly number[], unit: "x" | "%"): string {
  const text = (value: number) => unit === "%" ? (100 * value).toFixed(0) : value.toFixed(2);
  return `${text(median(values))}${unit === "%" ? " %" : "x"} (${text(Math.min(...values))}-${
    text(Math.max(...values))
  })`;
}

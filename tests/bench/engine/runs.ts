/** Owns the interleaved runs of all sides, and what stood beside each: the machine's limits and what others took of it. */
import type { Limits, Machine } from "./machine.ts";
import type { BenchDtype } from "./options.ts";
import { countOthersCpu } from "./others_cpu.ts";
import type { Figures, Scenario, Side } from "./side.ts";

/** A side with what is compared: ours of a type with its own peers and with our bf16. */
export interface Entry {
  readonly side: Side;
  readonly dtype: BenchDtype;
  /** Of the output head, ours. */
  readonly head: "bf16" | "int8";
  readonly ours: boolean;
}

/** One run of one side. */
export interface Run {
  readonly figures: Figures;
  /** Of before and after it. */
  readonly limits: Limits;
  /** Share of all processors that other programs had; NaN where unknown. */
  readonly othersCpu: number;
}

/** Every round runs each side once. Runs of each entry, round by round. */
export async function runAll(
  scenario: Scenario,
  entries: readonly Entry[],
  machine: Machine,
  rounds: number,
): Promise<Run[][]> {
  const runs = entries.map((): Run[] => []);
  // Code, caches and pages are warm in every round that counts.
  for (const { side, ours } of entries) if (ours) await side.measure(scenario);
  for (let round = 0; round < rounds; round++) {
    for (const [index, { side }] of entries.entries()) {
      if (!side.has(scenario)) continue;
      const before = await machine.limits();
      const othersCpu = countOthersCpu();
      const figures = await side.measure(scenario);
      const share = othersCpu();
      runs[index]!.push({ figures, limits: mean(before, await machine.limits()), othersCpu: share });
    }
  }
  return runs;
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

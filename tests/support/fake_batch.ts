/** What the fake engine reads of a batch as a whole: each sequence's wishes, and whether it stayed as it was. */
import type { StepBatch } from "../../gpu-worker/engine/types.ts";
import type { FakeWishes } from "./fake_history.ts";

/** Penalties and biases of sequence `s`, whose last token was fed to it, or -1. */
export function wishesOf(batch: StepBatch, s: number, fed: number): FakeWishes {
  const pairs = (starts: Int32Array, ids: Int32Array, values: Int32Array | Float32Array) => {
    const out: [number, number][] = [];
    for (let i = starts[s] ?? 0; i < (starts[s + 1] ?? 0); i++) out.push([ids[i]!, values[i]!]);
    return out;
  };
  const penalties = [
    batch.repetitionPenalty[s] ?? 1,
    batch.presencePenalty[s] ?? 0,
    batch.frequencyPenalty[s] ?? 0,
  ] as const;
  const seen = new Map(pairs(batch.seenStarts, batch.seenIds, batch.seenCounts));
  if (fed !== -1 && (penalties[0] !== 1 || penalties[1] !== 0 || penalties[2] !== 0)) {
    seen.set(fed, (seen.get(fed) ?? 0) + 1);
  }
  return {
    numbers: [batch.minP[s] ?? 0, ...penalties],
    seen,
    biases: pairs(batch.biasStarts, batch.biasIds, batch.biases),
  };
}

type BatchArray = Exclude<StepBatch[keyof StepBatch], number>;

/** All its arrays anew. */
export function copyOf(batch: StepBatch): StepBatch {
  const entries = Object.entries(batch) as [string, BatchArray | number][];
  const copied = entries.map(([name, value]) => [name, typeof value === "number" ? value : value.slice()]);
  return Object.fromEntries(copied) as StepBatch;
}

/** Value by value. */
export function sameBatch(a: StepBatch, b: StepBatch): boolean {
  return (Object.keys(a) as (keyof StepBatch)[]).every((name) => {
    const [one, other] = [a[name], b[name]];
    if (typeof one === "number" || typeof other === "number") return one === other;
    return one.length === other.length && one.every((value: number | bigint, i: number) => value === other[i]);
  });
}

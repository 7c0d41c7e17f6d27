/** Texts of a million characters: merged in n log n steps, the event loop free in between, stopped when nobody wants them. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { mergePairs, MergeTable } from "../../gpu-worker/prompt/byte_pairs.ts";
import { loadTokenizer } from "../../gpu-worker/prompt/load_tokenizer.ts";
import { atOnce, inSlices } from "../../gpu-worker/prompt/slices.ts";
import { HERE } from "../golden/tokenizer/goldens.ts";

/** Merging by its definition. */
function mergeSlowly(symbols: number[], merges: readonly (readonly [number, number, number, number])[]): number[] {
  for (;;) {
    let best: { rank: number; at: number; merged: number } | null = null;
    for (let at = 0; at + 1 < symbols.length; at++) {
      const merge = merges.find(([left, right]) => left === symbols[at] && right === symbols[at + 1]);
      if (merge !== undefined && (best === null || merge[2] < best.rank)) {
        best = { rank: merge[2], at, merged: merge[3] };
      }
    }
    if (best === null) return symbols;
    symbols = [...symbols.slice(0, best.at), best.merged, ...symbols.slice(best.at + 2)];
  }
}

Deno.test("byte pairs: the same as merging by definition, for short words and long ones", () => {
  const symbol = fc.integer({ min: 0, max: 3 });
  const rules = fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 })), {
    maxLength: 12,
    selector: (pair) => pair.join(),
  });
  fc.assert(
    fc.property(fc.array(symbol, { maxLength: 80 }), rules, fc.boolean(), (symbols, pairs, areRanksShared) => {
      // Rule i makes symbol 4 + i of symbols that exist before it, as a trainer would; ranks may be equal.
      const merges = pairs.filter(([left, right], i) => left < 4 + i && right < 4 + i).map(([left, right], i) =>
        [
          left,
          right,
          areRanksShared ? Math.floor(i / 3) : i,
          4 + pairs.findIndex((p) => p[0] === left && p[1] === right),
        ] as const
      );
      const table = new MergeTable(1);
      for (const merge of merges) table.add(...merge);
      const found = Int32Array.from(symbols);
      const length = atOnce(mergePairs(found, table));
      assert.deepEqual([...found.subarray(0, length)], mergeSlowly(symbols, merges));
    }),
    { numRuns: 2_000 },
  );
});

for (const name of ["qwen2", "sentencepiece-internlm3", "sentencepiece-few"]) {
  Deno.test(`long texts: ${name}, a million characters without a space leave the event loop free`, async () => {
    const tokenizer = await loadTokenizer(`${HERE}/${name}`);
    for (const text of ["aábc".repeat(250_000), "\u4e00".repeat(1_000_000), "=".repeat(1_000_000)]) {
      let numTurns = 0;
      const timer = setInterval(() => numTurns++, 0);
      const ids = await inSlices(tokenizer.encodeInSteps(text));
      clearInterval(timer);
      assert.ok(ids!.length > 0);
      let numSteps = 0;
      for (const work = tokenizer.encodeInSteps(text); !work.next().done;) numSteps++;
      // Each step is a bounded piece of work; the loop turned whenever a slice of them was over.
      assert.ok(numSteps > 100, `${numSteps} steps`);
      assert.ok(numTurns > 3, `${numTurns} turns of the event loop`);
    }
  });
}

Deno.test("long texts: work that is no longer wanted ends", async () => {
  const tokenizer = await loadTokenizer(`${HERE}/qwen2`);
  let numAsked = 0;
  assert.equal(await inSlices(tokenizer.encodeInSteps("ab".repeat(500_000)), () => ++numAsked > 3), undefined);
  assert.equal(numAsked, 4);
});

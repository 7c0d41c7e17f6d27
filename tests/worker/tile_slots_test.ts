/** Tile slots under random jobs: no slot twice, none lost, pixels only where they are needed. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type TileBatch, TileSlots } from "../../gpu-worker/schedule/tile_slots.ts";

const pixels = (seed: number) => Uint8Array.of(seed, seed, seed);

/** Reserves, receives and encodes tiles at once. */
function load(slots: TileSlots, ...hashes: string[]): void {
  for (const hash of slots.reserve(hashes)!) slots.receive(hash, pixels(1));
  for (let batch; (batch = slots.takeForEncoding(8)) !== null;) slots.encoded(batch);
}

Deno.test("tile slots: what was needed least recently goes first, what is held never", () => {
  const slots = new TileSlots(3);
  load(slots, "a");
  load(slots, "b");
  load(slots, "c");
  slots.release(["a"]);
  slots.release(["b"]);
  assert.deepEqual(slots.reserve(["a"]), []);
  assert.deepEqual(slots.reserve(["d"]), ["d"]);
  assert.equal(slots.isReady("b"), false);
  assert.equal(slots.reserve(["e"]), null);
  slots.checkIntegrity([["a"], ["c"], ["d"]]);
});

Deno.test("tile slots: all or none, and a job's own idle tiles make no room for its new ones", () => {
  const slots = new TileSlots(2);
  load(slots, "a", "b");
  slots.release(["a", "b"]);
  assert.equal(slots.reserve(["a", "c", "d"]), null);
  slots.checkIntegrity([]);
  assert.deepEqual(slots.reserve(["a", "c"]), ["c"]);
  assert.equal(slots.isReady("a"), true);
});

Deno.test("tile slots: a call that fails is taken apart, a tile that fails alone is given up", () => {
  const slots = new TileSlots(4);
  for (const hash of slots.reserve(["a", "b", "c"])!) slots.receive(hash, pixels(1));
  assert.deepEqual(slots.encodeFailed(slots.takeForEncoding(2)!), []);
  assert.deepEqual(slots.takeForEncoding(2)!.hashes, ["c"]);
  assert.deepEqual(slots.encodeFailed(slots.takeForEncoding(2)!), ["a"]);
  slots.encoded(slots.takeForEncoding(2)!);
  assert.equal(slots.isReady("b"), true);
});

Deno.test("tile slots: random jobs leave nothing behind", () => {
  const hash = fc.constantFrom(..."abcdefgh");
  const action = fc.oneof(
    fc.record({ type: fc.constant("reserve" as const), hashes: fc.uniqueArray(hash, { maxLength: 4 }) }),
    fc.record({ type: fc.constant("release" as const), index: fc.nat() }),
    fc.record({ type: fc.constant("receive" as const), hash }),
    fc.record({ type: fc.constant("take" as const), max: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ type: fc.constant("end" as const), isGood: fc.boolean() }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), fc.integer({ min: 2, max: 5 }), (actions, numSlots) => {
      const slots = new TileSlots(numSlots);
      const held: string[][] = [];
      let batch: TileBatch | null = null;
      for (const act of actions) {
        if (act.type === "reserve") {
          if (slots.reserve(act.hashes) !== null) held.push(act.hashes);
        } else if (act.type === "release" && held.length > 0) {
          slots.release(held.splice(act.index % held.length, 1)[0]!);
        } else if (act.type === "receive") slots.receive(act.hash, pixels(1));
        else if (act.type === "take") batch ??= slots.takeForEncoding(act.max);
        else if (act.type === "end" && batch !== null) {
          if (act.isGood) slots.encoded(batch);
          else {
            const lost = new Set(slots.encodeFailed(batch));
            for (let i = held.length - 1; i >= 0; i--) {
              if (held[i]!.some((each) => lost.has(each))) slots.release(held.splice(i, 1)[0]!);
            }
          }
          batch = null;
        }
        slots.checkIntegrity(held);
      }
      if (batch !== null) slots.encoded(batch);
      for (const hashes of held) slots.release(hashes);
      slots.checkIntegrity([]);
      // Everything can be had again.
      assert.notEqual(slots.reserve([..."nopqr"].slice(0, numSlots)), null);
    }),
    { numRuns: 1_000 },
  );
});

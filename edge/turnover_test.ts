/** Retry-After follows the pace at which places become free and the line before one. */
import assert from "node:assert/strict";
import { Turnover } from "./turnover.ts";

Deno.test("turnover: a longer line waits longer, a faster pace shorter, within bounds", () => {
  let now = 0;
  const turnover = new Turnover(() => now);
  assert.equal(turnover.refused(), 1);
  // One place every two seconds.
  for (let i = 0; i < 5; i++) {
    now += 2_000;
    turnover.freed();
  }
  now += 2_000;
  const waits = Array.from({ length: 4 }, () => turnover.refused());
  assert.deepEqual(waits, [2, 4, 6, 8]);
  for (let i = 0; i < 1_000; i++) turnover.refused();
  assert.equal(turnover.refused(), 60);
  // A hundred a second.
  for (let i = 0; i < 1_000; i++) {
    now += 10;
    turnover.freed();
  }
  now += 2_000;
  assert.equal(turnover.refused(), 1);
  // The pace of long ago says nothing.
  now += 3_600_000;
  assert.equal(turnover.refused(), 1);
});

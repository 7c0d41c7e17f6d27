/** What is taken out of the stream: messages of workers that are gone, and no others, once. */
import assert from "node:assert/strict";
import { Leftovers } from "./leftovers.ts";

Deno.test("leftovers: a dead worker's messages go when their time is over, a living one's are left to it", () => {
  const alive = new Set(["a", "b"]);
  const withdrawn: number[] = [];
  const leftovers = new Leftovers({ isAlive: (id) => alive.has(id), withdraw: (seq) => withdrawn.push(seq) });
  const now = performance.now();
  leftovers.add(1, "a");
  leftovers.add(2, "b");
  leftovers.add(3, "a");
  alive.delete("a");
  leftovers.sweep(now + 1_000);
  assert.deepEqual(withdrawn, [], "it may acknowledge still");
  assert.equal(leftovers.size, 3);
  leftovers.sweep(now + 60_000);
  assert.deepEqual(withdrawn, [1, 3]);
  assert.equal(leftovers.size, 0);
  leftovers.sweep(now + 120_000);
  assert.deepEqual(withdrawn, [1, 3]);
  leftovers.close();
});

/** Which jobs count as the end of their workers: those that never get past the same token. */
import assert from "node:assert/strict";
import { Losses } from "./losses.ts";

Deno.test("losses: three attempts without a token make the job the cause; the second runs alone", () => {
  const losses = new Losses();
  for (const [attempt, workerId] of ["a", "b", "c"].entries()) {
    assert.equal(losses.isSuspect, attempt > 0);
    assert.equal(losses.isCause, false);
    losses.granted(workerId, 5, true);
    losses.lost(5);
  }
  assert.equal(losses.isCause, true);
  assert.deepEqual(losses.workerIds, ["a", "b", "c"]);
});

Deno.test("losses: a token, or a hand-over, is not held against the job", () => {
  const losses = new Losses();
  for (let numIds = 0; numIds < 3; numIds++) {
    losses.granted("a", numIds, true);
    losses.lost(numIds);
    losses.granted("b", numIds, true);
    losses.lost(numIds + 1);
    assert.equal(losses.isSuspect, false);
  }
  for (let attempt = 0; attempt < 10; attempt++) {
    losses.granted("a", 10, true);
    losses.handedOver();
    losses.lost(10);
  }
  assert.equal(losses.isSuspect, false);
});

Deno.test("losses: one that waited for its turn when the worker ended is not blamed", () => {
  const losses = new Losses();
  losses.granted("a", 0, true);
  losses.lost(0);
  for (let attempt = 0; attempt < 10; attempt++) {
    losses.granted("b", 0, false);
    losses.lost(0);
  }
  assert.equal(losses.isCause, false);
  for (const workerId of ["c", "d"]) {
    losses.granted(workerId, 0, false);
    losses.begun();
    losses.lost(0);
  }
  assert.equal(losses.isCause, true);
});

/** When a job has to be published again: what is given back comes to others by itself only from the queue for all. */
import assert from "node:assert/strict";
import { Publications } from "./publications.ts";

Deno.test("publications: given back to the queue for all, it comes to another worker by itself", () => {
  const publications = new Publications();
  publications.stored(publications.begin(1), 7);
  publications.claimed(1);
  publications.givenBack(1, "given back");
  assert.equal(publications.dueReason, null);
  assert.ok(publications.has(2));
});

Deno.test("publications: given back to the queue of one worker, or to a stream that was lost, it is due again", () => {
  for (const isForAll of [false, true]) {
    const publications = new Publications();
    publications.stored(publications.begin(1, isForAll), 7);
    publications.claimed(1);
    if (isForAll) publications.streamLost();
    assert.equal(publications.dueReason, null);
    publications.givenBack(1, "given back");
    assert.equal(publications.dueReason, "given back");
    assert.equal(publications.has(2), false);
    assert.deepEqual(publications.takeVoid(), [7]);
  }
});

Deno.test("publications: not stored for all, it is due although one worker's queue has it", () => {
  const publications = new Publications();
  publications.stored(publications.begin(1, false), 7);
  publications.failed(publications.begin(1));
  assert.equal(publications.dueReason, "not stored");
  assert.ok(publications.has(1));
});

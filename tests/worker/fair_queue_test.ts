/** Who is admitted next: priorities before fair shares, those that were preempted before newcomers, tokens as the currency. */
import assert from "node:assert/strict";
import { FairQueue } from "../../gpu-worker/schedule/fair_queue.ts";
import { PLAIN_SAMPLING } from "../../gpu-worker/schedule/sampling.ts";
import { Sequence } from "../../gpu-worker/schedule/sequence.ts";

let numMade = 0;

function sequence(tenant: string, numTokens: number, priority = 0): Sequence {
  const zeros = new Int32Array(numTokens);
  const made = new Sequence({
    id: `${tenant}${numMade}`,
    prompt: { tokenIds: zeros, tileOf: zeros.map(() => -1), rowOf: zeros, tiles: [], numImageTokens: 0 },
    slots: new Int32Array(0),
    sampling: PLAIN_SAMPLING,
    resumeIds: [],
    tenant,
    priority,
  });
  made.arrival = numMade++;
  return made;
}

function fill(queue: FairQueue, ...sequences: Sequence[]): void {
  for (const each of sequences) {
    queue.enter(each);
    queue.add(each);
  }
}

/** Admits `count` of them, each paid for; returns whose they were. */
function admit(queue: FairQueue, count: number): string[] {
  return Array.from({ length: count }, () => {
    const next = queue.peek()!;
    queue.delete(next);
    queue.charge(next, next.numTokens);
    queue.leave(next);
    return next.tenant;
  });
}

const share = (order: string[], tenant: string) => order.filter((each) => each === tenant).length;

Deno.test("fair queue: a tenant that floods gets no more than its share", () => {
  const queue = new FairQueue(100);
  for (let i = 0; i < 50; i++) fill(queue, sequence("flood", 50));
  fill(queue, sequence("late", 50), sequence("late", 50), sequence("late", 50));
  const order = admit(queue, 8);
  assert.equal(share(order, "late"), 3, order.join(" "));
});

Deno.test("fair queue: shares are of tokens, not of requests", () => {
  const queue = new FairQueue(100);
  for (let i = 0; i < 40; i++) fill(queue, sequence("long", 400), sequence("short", 50));
  const order = admit(queue, 45);
  const [long, short] = [share(order, "long") * 400, share(order, "short") * 50];
  assert.ok(Math.abs(long - short) <= 500, `${long} and ${short} tokens`);
});

Deno.test("fair queue: priority goes first, then what was preempted, then turns; the books are closed at the end", () => {
  const queue = new FairQueue(100);
  const [usual, urgent, idle, preempted] = [
    sequence("a", 10),
    sequence("b", 10, -5),
    sequence("c", 10, 5),
    sequence("d", 10),
  ];
  preempted.hasRun = true;
  fill(queue, usual, urgent, idle, preempted);
  queue.checkIntegrity([]);
  assert.deepEqual([...queue].length, 4);
  assert.deepEqual(admit(queue, 4), ["b", "d", "a", "c"]);
  assert.equal(queue.peek(), undefined);
  assert.equal(queue.numTenants, 0);
});

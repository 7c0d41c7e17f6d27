/** The same picture goes to the same worker, keys spread evenly, few move when a worker comes or goes, load bounds all. */
import type { Announcement } from "@tessera/shared";
import assert from "node:assert/strict";
import { preferredWorker } from "./routing.ts";

function workers(...running: number[]): Announcement[] {
  return running.map((each, i) => ({
    worker_id: `worker-${i}`,
    running: each,
    capacity: 64,
    routed: true,
  })) as Announcement[];
}

const KEYS = Array.from({ length: 2_000 }, (_, i) => `key ${i}`);

Deno.test("routing: even, stable, and bounded by load", () => {
  const four = KEYS.map((key) => preferredWorker(key, workers(0, 0, 0, 0)));
  assert.deepEqual(four, KEYS.map((key) => preferredWorker(key, workers(0, 0, 0, 0))));
  for (let i = 0; i < 4; i++) {
    const share = four.filter((id) => id === `worker-${i}`).length / KEYS.length;
    assert.ok(share > 0.2 && share < 0.3, `${share}`);
  }
  // A fifth takes a fifth, from all alike; nothing moves between the others.
  const five = KEYS.map((key) => preferredWorker(key, workers(0, 0, 0, 0, 0)));
  const moved = five.filter((id, i) => id !== four[i]);
  assert.ok(moved.every((id) => id === "worker-4"));
  assert.ok(moved.length / KEYS.length < 0.25);
  // One that is much busier than the rest gets nothing new.
  assert.ok(KEYS.every((key) => preferredWorker(key, workers(20, 2, 2, 2)) !== "worker-0"));
});

Deno.test("routing: a worker with twice the places has twice the keys, and twice the load", () => {
  const [large, small] = workers(0, 0) as [Announcement, Announcement];
  const share = (a: Announcement, b: Announcement) =>
    KEYS.filter((key) => preferredWorker(key, [a, b]) === a.worker_id).length / KEYS.length;
  const twice = share({ ...large, capacity: 128 }, small);
  assert.ok(twice > 0.62 && twice < 0.71, `${twice}`);
  assert.equal(share({ ...large, capacity: 96, running: 30 }, { ...small, capacity: 32, running: 0 }) > 0, true);
  assert.equal(share({ ...large, capacity: 32, running: 30 }, { ...small, capacity: 96, running: 0 }), 0);
});

Deno.test("routing: without a choice there is no preference", () => {
  assert.equal(preferredWorker("a", []), null);
  assert.equal(preferredWorker("a", workers(0)), null);
  const [old, ...others] = workers(0, 0, 0);
  assert.equal(preferredWorker("a", [{ ...old!, routed: undefined }, ...others]), null);
});

/** What is kept of videos stays within its bound, the least recent goes first, and a huge one pushes out nothing. */
import assert from "node:assert/strict";
import { type KeptVideo, VideoMemory } from "./video_memory.ts";

const FACTS = { num_frames: 1, fps: 1, duration_s: 1, indices: [0], width: 1, height: 1 };
const video = (numBytes: number): KeptVideo => ({
  images: [],
  tiles: [{ hash: "h", size: 1, pixels: new Uint8Array(numBytes) }],
  facts: FACTS,
});

Deno.test("video memory: bounded, least recent first", () => {
  const memory = new VideoMemory(100);
  for (const name of ["a", "b", "c"]) memory.set(name, video(30));
  assert.notEqual(memory.get("a"), null);
  memory.set("d", video(40));
  assert.deepEqual(["a", "b", "c", "d"].map((name) => memory.get(name) !== null), [true, false, true, true]);
  assert.equal(memory.numBytes, 100);
  memory.set("huge", video(51));
  assert.equal(memory.get("huge"), null);
  memory.set("d", video(10));
  assert.equal(memory.numBytes, 100);
});

Deno.test("video memory: the key tells files and wishes apart", async () => {
  const [one, other] = [Uint8Array.of(1), Uint8Array.of(2)];
  const keys = await Promise.all([
    VideoMemory.key(one, [8]),
    VideoMemory.key(other, [8]),
    VideoMemory.key(one, [9]),
    VideoMemory.key(one, [8]),
  ]);
  assert.equal(new Set(keys).size, 3);
  assert.equal(keys[0], keys[3]);
});

/** Frames of a video against PyAV: which ones, how many, every pixel; and files that are damaged or beyond the limits. */
import assert from "node:assert/strict";
import { frameIndices } from "../../gpu-worker/media/frame_indices.ts";
import { decoded, type Wish } from "./decoded_video.ts";

const GOLDEN = new URL("../golden/video/", import.meta.url);

interface Golden {
  readonly fps: number;
  readonly size: [width: number, height: number];
  /** Beginning of the SHA-256 of each frame's RGB, in presentation order. */
  readonly frames: string[];
}
const goldens = JSON.parse(await Deno.readTextFile(new URL("videos.json", GOLDEN))) as Record<string, Golden>;

const read = (name: string) => Deno.readFile(new URL(`videos/${name}`, GOLDEN));

Deno.test("video: every frame of every file is PyAV's, byte for byte", async (t) => {
  for (const [name, { fps, size, frames }] of Object.entries(goldens)) {
    await t.step(name, async () => {
      const { plan, hashes } = await decoded(name, await read(name), { segments: 200 });
      assert.equal(plan.num_frames, frames.length);
      assert.deepEqual([plan.width, plan.height], size);
      // A Matroska file declares a rate, and this one's is made up; ours is the frames' by their times.
      if (name !== "uneven.mkv") assert.ok(Math.abs(plan.fps - fps) < 1e-9 * fps, `${plan.fps} ${fps}`);
      assert.equal(hashes.size, frames.length);
      for (const [index, hash] of hashes) assert.equal(hash, frames[index], `frame ${index}`);
    });
  }
});

Deno.test("video: the wanted frames alone, those of a stretch, and some twice where there are too few", async () => {
  const { frames } = goldens["h264.mp4"]!;
  const bytes = await read("h264.mp4");
  const cases: [Wish, number[]][] = [
    [{}, [1, 5, 8, 12, 15, 19, 23, 26]],
    [{ segments: 3, start: 0.4, end: 0.8 }, [11, 14, 18]],
    [{ segments: 4, start: 1.1 }, [28, 28, 28, 29]],
    [{ segments: 2, end: 100 }, [7, 21]],
  ];
  for (const [wish, expected] of cases) {
    const { plan, hashes } = await decoded("h264.mp4", bytes, wish);
    const bound = { startS: wish.start ?? null, endS: wish.end ?? null };
    assert.deepEqual(plan.indices, frameIndices(bound, 25, 29, wish.segments ?? 8));
    assert.deepEqual(plan.indices, expected);
    for (const index of plan.indices) assert.equal(hashes.get(index), frames[index]);
  }
  const twice = await decoded("one_frame.mp4", await read("one_frame.mp4"));
  assert.deepEqual(twice.plan.indices, Array(8).fill(0));
  await assert.rejects(decoded("h264.mp4", bytes, { start: 1.3 }), { code: "invalid_request", param: "start" });
});

Deno.test("video: as the file lies, where it is not to be turned upright", async () => {
  const { plan, hashes } = await decoded("turned90.mp4", await read("turned90.mp4"), { segments: 200, upright: false });
  assert.deepEqual([plan.width, plan.height], [64, 48]);
  assert.deepEqual([...hashes.values()], goldens["sound.mp4"]!.frames);
});

Deno.test("video: a file that is damaged from its beginning is an error for the caller", async (t) => {
  const whole = await read("h264.mp4");
  const noVideo = new TextEncoder().encode(`....ftypisom${"x".repeat(300)}`);
  const endless = await read("h264.mov");
  for (
    const [name, bytes] of [
      ["x.mp4", noVideo],
      ["x.mkv", noVideo],
      ["x.gif", noVideo],
      ["head.mp4", whole.subarray(0, 300)],
      // The index of a .mov stands at its end.
      ["cut.mov", endless.subarray(0, endless.length - 200)],
      ["random.mp4", whole.map((byte, i) => i < 60 ? byte : (i * 77) & 255)],
    ] as const
  ) {
    await t.step(name, () => assert.rejects(decoded(name, Uint8Array.from(bytes)), { code: "video_corrupt" }));
  }
});

Deno.test("video: frames are chosen as the vendor's quick start chooses them", async () => {
  const text = await Deno.readTextFile(new URL("frame_indices.json", GOLDEN));
  const cases = JSON.parse(text) as [number | null, number | null, number, number, number, number[]][];
  assert.ok(cases.length > 200);
  for (const [startS, endS, fps, numFrames, segments, expected] of cases) {
    assert.deepEqual(frameIndices({ startS, endS }, fps, numFrames - 1, segments), expected);
  }
});

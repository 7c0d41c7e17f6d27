/** A video through a worker's decoder, as an edge would ask: plan and frames. */
import assert from "node:assert/strict";
import { ensureFfmpeg } from "@tessera/infra/ffmpeg";
import { sha256Hex, silentLogger, type VideoContainer, type VideoPlan } from "@tessera/shared";
import { Ffmpeg } from "../../gpu-worker/media/ffmpeg.ts";
import { VideoSession } from "../../gpu-worker/media/video_session.ts";

/** Path of the real program. */
export const FFMPEG = await ensureFfmpeg();
const ffmpeg = await openProgram(FFMPEG);

export async function openProgram(path: string): Promise<Ffmpeg> {
  const program = await Ffmpeg.open(path);
  assert.ok(program !== null);
  return program;
}

export interface Wish {
  readonly segments?: number;
  readonly start?: number;
  readonly end?: number;
  readonly upright?: boolean;
  readonly program?: Ffmpeg;
  readonly maxMs?: number;
  readonly maxReplyBytes?: number;
}

/** Plan and frames of a file, by index; the frames as hashes of their RGB. */
export async function decoded(name: string, bytes: Uint8Array, wish: Wish = {}) {
  const extension = name.slice(name.lastIndexOf(".") + 1);
  const container: VideoContainer = extension === "gif"
    ? "gif"
    : ["mkv", "webm"].includes(extension)
    ? "matroska"
    : "mov";
  const { program = ffmpeg, maxMs, maxReplyBytes = 5_000 } = wish;
  const folder = await Deno.makeTempDir();
  const open = {
    v: 1 as const,
    container,
    num_bytes: bytes.length,
    num_segments: wish.segments ?? 8,
    start_s: wish.start ?? null,
    end_s: wish.end ?? null,
    upright: wish.upright ?? true,
    max_reply_bytes: maxReplyBytes,
  };
  const limit = maxMs === undefined ? {} : { maxMs };
  const session = await VideoSession.start({ ffmpeg: program, open, folder, log: silentLogger, ...limit });
  try {
    await session.upload(bytes.subarray(0, 100));
    await session.upload(bytes.subarray(100));
    let plan: VideoPlan = await session.plan();
    let files: Uint8Array[] = [];
    let file: Uint8Array | null = null;
    let numBytes = 0;
    for (;;) {
      const read = await session.read();
      if (read.note === "plan") [plan, files, file] = [read.plan, [], null];
      else if (read.bytes.length === 0) break;
      else {
        assert.ok(read.bytes.length <= maxReplyBytes);
        if (file === null) [file, numBytes] = [new Uint8Array(lengthOf(read.bytes)), 0];
        file.set(read.bytes, numBytes);
        numBytes += read.bytes.length;
        if (numBytes < file.length) continue;
        files.push(file);
        file = null;
      }
    }
    const distinct = [...new Set(plan.indices)];
    assert.equal(files.length, distinct.length);
    const hashes = await Promise.all(files.map(async (file) => (await sha256Hex(rgbOf(file, plan))).slice(0, 24)));
    return { plan, hashes: new Map(distinct.map((index, i) => [index, hashes[i]!])) };
  } finally {
    await session.close();
    await assert.rejects(Deno.stat(folder), Deno.errors.NotFound);
  }
}

const lengthOf = (bmp: Uint8Array) => new DataView(bmp.buffer, bmp.byteOffset).getUint32(2, true);

/** Pixels of a BMP file, top row first, [height, width, 3]. */
function rgbOf(bmp: Uint8Array, { width, height }: VideoPlan): Uint8Array<ArrayBuffer> {
  const view = new DataView(bmp.buffer, bmp.byteOffset);
  assert.deepEqual([view.getInt32(18, true), view.getInt32(22, true), view.getUint16(28, true)], [width, height, 24]);
  const start = view.getUint32(10, true);
  const stride = Math.ceil((width * 3) / 4) * 4;
  const rgb = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const row = start + (height - 1 - y) * stride;
    for (let x = 0; x < width * 3; x++) rgb[y * width * 3 + x] = bmp[row + x - (x % 3) + 2 - (x % 3)]!;
  }
  return rgb;
}

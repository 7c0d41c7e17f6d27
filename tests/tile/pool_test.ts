// Owns the proof that the pool tiles off the event loop, keeps its bounds, and hands buffers over.
import assert from "node:assert/strict";
import {
  createTilePool,
  type TiledImage,
  TileError,
  type TilePoolOptions,
  type TileReason,
} from "../../edge/tile/mod.ts";
import {
  bmpHeader,
  checked,
  goldens,
  INTERNVL3,
  limits,
  newTiler,
  picture,
  pictureNames,
  sha256,
  SMALL,
} from "./support.ts";

function rejects(promise: Promise<unknown>, reason: TileReason): Promise<void> {
  return assert.rejects(promise, (error) => error instanceof TileError && error.reason === reason);
}

const ONE: TilePoolOptions = { workers: 1 };

Deno.test("the pool's tiles are the tiler's, with their hashes and timings", async () => {
  await using pool = createTilePool(ONE);
  const image = await pool.tileImage(picture("large.jpg"), INTERNVL3);
  const expected = newTiler().tile(picture("large.jpg"), checked(INTERNVL3), limits);
  assert.deepEqual(image.tiles, expected.tiles);
  assert.deepEqual(image.hashes, await Promise.all(image.tiles.map(sha256)));
  assert.deepEqual([image.format, image.sourceWidth, image.sourceHeight], ["jpeg", 901, 677]);
  assert.deepEqual(Object.keys(image.timings).sort(), ["cutMs", "decodeMs", "hashMs", "queueMs", "resizeMs"]);
  for (const ms of Object.values(image.timings)) assert.ok(ms >= 0);
});

Deno.test("every tile has a buffer of its own", async () => {
  await using pool = createTilePool(ONE);
  const { tiles, tileCount } = await pool.tileImage(picture("wide.jpg"), SMALL);
  assert.equal(tiles.length, tileCount);
  for (const tile of tiles) assert.equal(tile.buffer.byteLength, 14 * 14 * 3);
  assert.equal(new Set(tiles.map((tile) => tile.buffer)).size, tiles.length);
});

Deno.test("the thumbnail comes only when asked for and when there is more than one tile", async () => {
  await using pool = createTilePool(ONE);
  const count = async (maxTiles: number, thumbnail: boolean) =>
    (await pool.tileImage(picture("wide.jpg"), { ...SMALL, maxTiles, thumbnail })).tiles.length;
  assert.equal(await count(6, true), 7);
  assert.equal(await count(6, false), 6);
  assert.equal(await count(1, true), 1);
});

Deno.test("a whole buffer is transferred, a part of one is copied", async () => {
  await using pool = createTilePool(ONE);
  const whole = picture("420.jpg");
  const part = new Uint8Array(new ArrayBuffer(whole.length + 9), 9);
  part.set(whole);
  const [first, second] = await Promise.all([pool.tileImage(whole, SMALL), pool.tileImage(part, SMALL)]);
  assert.equal(whole.length, 0);
  assert.deepEqual(part, picture("420.jpg"));
  assert.deepEqual(first.tiles, second.tiles);
});

Deno.test("the header says the same as the tiles", async () => {
  await using pool = createTilePool(ONE);
  for (const golden of goldens.cases) {
    const { format: _, orientation, needBytes, ...inspection } = await pool.inspectImage(
      picture(golden.file),
      golden.options,
    );
    assert.equal(orientation, Number(/^exif(\d)/.exec(golden.file)?.[1] ?? orientation), golden.file);
    assert.ok(needBytes > golden.cols * golden.rows * golden.options.tileSize ** 2 * 3);
    assert.deepEqual(inspection, {
      sourceWidth: golden.sourceWidth,
      sourceHeight: golden.sourceHeight,
      cols: golden.cols,
      rows: golden.rows,
      width: golden.cols * golden.options.tileSize,
      height: golden.rows * golden.options.tileSize,
      tileCount: golden.tiles,
    });
  }
});

Deno.test("inspecting finds an orientation behind the pixels of a long file and leaves the bytes alone", async () => {
  await using pool = createTilePool(ONE);
  const file = picture("rgb8_exif_last.png");
  // A chunk nobody knows, longer than the prefix that is read first, before the pixels.
  const filler = new Uint8Array(100_012);
  new DataView(filler.buffer).setUint32(0, 100_000);
  filler.set(new TextEncoder().encode("fiLl"), 4);
  const long = new Uint8Array([...file.subarray(0, 33), ...filler, ...file.subarray(33)]);
  const { sourceWidth, sourceHeight, orientation } = await pool.inspectImage(long, SMALL);
  assert.deepEqual([sourceWidth, sourceHeight], [37, 53]);
  assert.equal(long.length, file.length + filler.length);
  const tiled = await pool.tileImage(long.slice(), SMALL);
  assert.deepEqual([tiled.sourceWidth, tiled.orientation], [37, orientation]);
});

Deno.test("the same holds for a long WebP, and a beginning alone says that it is not enough", async () => {
  await using pool = createTilePool(ONE);
  const file = picture("exif.webp");
  const inspection = await pool.inspectImage(file, SMALL);
  const at = file.findLastIndex((_, i) => new TextDecoder().decode(file.subarray(i, i + 4)) === "EXIF");
  const filler = new Uint8Array(200_008);
  filler.set(new TextEncoder().encode("JUNK"));
  new DataView(filler.buffer).setUint32(4, 200_000, true);
  const long = new Uint8Array([...file.subarray(0, at), ...filler, ...file.subarray(at)]);
  const { needBytes, ...rest } = await pool.inspectImage(long, SMALL);
  assert.deepEqual({ ...rest, needBytes: inspection.needBytes }, inspection);
  assert.ok(needBytes > inspection.needBytes);
  await rejects(pool.inspectImage(long.subarray(0, 1000), SMALL, long.length), "truncated");
  await rejects(pool.inspectImage(picture("large.jpg").subarray(0, 100), SMALL, 50_000), "truncated");
  const { tileCount } = await pool.inspectImage(picture("large.jpg").subarray(0, 5_000), SMALL, 50_000);
  assert.ok(tileCount > 1);
});

Deno.test("timers go on firing while pictures are tiled", async () => {
  await using pool = createTilePool(ONE);
  await pool.ready;
  let fired = 0;
  const timer = setInterval(() => fired++, 1);
  await Promise.all(Array.from({ length: 4 }, () => pool.tileImage(picture("large.jpg"), INTERNVL3)));
  clearInterval(timer);
  // The work takes well over 100 ms; on the event loop it would let through one timer for each picture.
  assert.ok(fired > 12, `${fired} timers`);
});

Deno.test("a full queue answers busy, and a place is free again when a picture leaves it", async () => {
  await using pool = createTilePool({ ...ONE, maxQueue: 2 });
  await pool.ready;
  const taken = Array.from({ length: 3 }, () => pool.tileImage(picture("420.jpg"), SMALL));
  const { memoryBytes, ...busy } = pool.stats;
  assert.deepEqual(busy, { workers: 1, running: 1, queued: 2, replaced: 0 });
  assert.ok(memoryBytes > 0);
  await rejects(pool.tileImage(picture("420.jpg"), SMALL), "busy");
  await taken[0];
  await pool.tileImage(picture("420.jpg"), SMALL);
  await Promise.all(taken);
  const { memoryBytes: _, ...idle } = pool.stats;
  assert.deepEqual(idle, { workers: 1, running: 0, queued: 0, replaced: 0 });
});

Deno.test("the bytes that wait are bounded too", async () => {
  const size = picture("420.jpg").length;
  await using pool = createTilePool({ ...ONE, maxQueuedBytes: 2 * size });
  await pool.ready;
  const taken = Array.from({ length: 3 }, () => pool.tileImage(picture("420.jpg"), SMALL));
  await rejects(pool.tileImage(picture("420.jpg"), SMALL), "busy");
  await Promise.all(taken);
});

Deno.test("an aborted picture frees its place in the queue", async () => {
  await using pool = createTilePool({ ...ONE, maxQueue: 1 });
  await pool.ready;
  const first = pool.tileImage(picture("large.jpg"), INTERNVL3);
  const controller = new AbortController();
  const aborted = pool.tileImage(picture("420.jpg"), SMALL, controller.signal);
  await rejects(pool.tileImage(picture("420.jpg"), SMALL), "busy");
  controller.abort();
  await rejects(aborted, "aborted");
  assert.equal(pool.stats.queued, 0);
  await Promise.all([first, pool.tileImage(picture("420.jpg"), SMALL)]);
});

Deno.test("an abort while the picture is tiled ends the wait, and the worker goes on to the next", async () => {
  await using pool = createTilePool({ ...ONE, abortGraceMs: 10_000 });
  await pool.ready;
  const controller = new AbortController();
  const running = pool.tileImage(picture("large.jpg"), INTERNVL3, controller.signal);
  controller.abort();
  await rejects(running, "aborted");
  await pool.tileImage(picture("420.jpg"), SMALL);
  await rejects(pool.tileImage(picture("420.jpg"), SMALL, controller.signal), "aborted");
  assert.equal(pool.stats.replaced, 0);
});

Deno.test("memory beyond the idle bound is given back by a new instance", async () => {
  await using pool = createTilePool({ ...ONE, maxIdleBytes: 0 });
  const images: TiledImage[] = [];
  for (let i = 0; i < 3; i++) images.push(await pool.tileImage(picture("420.jpg"), SMALL));
  assert.deepEqual(images[0]!.hashes, images[2]!.hashes);
  assert.equal(pool.stats.replaced, 0);
});

Deno.test("pictures over the limits are refused by their header", async () => {
  await using pool = createTilePool({ ...ONE, maxPixels: 1_000_000, maxSide: 5000 });
  for (const [width, height] of [[2000, 501], [5001, 1], [1, 5001], [2 ** 31 - 1, 2 ** 31 - 1]] as const) {
    await rejects(pool.tileImage(bmpHeader(width, height), SMALL), "too_many_pixels");
    await rejects(pool.inspectImage(bmpHeader(width, height), SMALL), "too_many_pixels");
  }
  await pool.inspectImage(bmpHeader(2000, 500), SMALL);
});

Deno.test("closing ends what waits and what runs", async () => {
  const pool = createTilePool({ ...ONE, maxQueue: 1 });
  await pool.ready;
  const both = [pool.tileImage(picture("large.jpg"), INTERNVL3), pool.tileImage(picture("420.jpg"), SMALL)];
  const ends = both.map((promise) => rejects(promise, "closed"));
  await pool.close();
  await Promise.all(ends);
  await rejects(pool.tileImage(picture("420.jpg"), SMALL), "closed");
  await pool.close();
});

Deno.test("closing before the workers are warm is an end too", async () => {
  const pool = createTilePool(ONE);
  const waiting = rejects(pool.tileImage(picture("420.jpg"), SMALL), "closed");
  await pool.close();
  await Promise.all([waiting, rejects(pool.ready, "closed")]);
});

Deno.test("options out of range are the caller's mistake", async () => {
  assert.throws(() => createTilePool({ workers: 0 }), RangeError);
  assert.throws(() => createTilePool({ maxPixels: 1.5 }), RangeError);
  await using pool = createTilePool(ONE);
  for (const wrong of [{ tileSize: 0 }, { tileSize: 1025 }, { minTiles: 7 }, { maxTiles: 65 }, { maxTiles: NaN }]) {
    await assert.rejects(pool.tileImage(picture("420.jpg"), { ...SMALL, ...wrong }), RangeError);
    await assert.rejects(pool.inspectImage(picture("420.jpg"), { ...SMALL, ...wrong }), RangeError);
  }
});

Deno.test("two workers tile at the same time and give the same tiles", async () => {
  await using pool = createTilePool({ workers: 2 });
  await pool.ready;
  const both = Promise.all([0, 1].map(() => pool.tileImage(picture("large.jpg"), INTERNVL3)));
  assert.equal(pool.stats.running, 2);
  const [one, two] = await both;
  assert.deepEqual(one!.hashes, two!.hashes);
  assert.ok(pictureNames().length > 60);
});

// Owns the proof that what a header promises bounds a picture's memory, and that pools keep to theirs by waiting.
import assert from "node:assert/strict";
import fc from "fast-check";
import { heldBytes, place } from "../../edge/tile/budget.ts";
import { createTilePool, TileError } from "../../edge/tile/mod.ts";
import { jpeg } from "../support/jpeg_writer.ts";
import { png } from "../support/png_writer.ts";
import { checked, INTERNVL3, limits, newTiler, picture, pictureNames, SMALL } from "./support.ts";

const MIB = 1024 * 1024;
/** Makes 36 tiles of a picture of 12 megapixels. */
const MANY_TILES = { ...INTERNVL3, minTiles: 30, maxTiles: 40 };

/** Memory the picture took, and what its header promised. */
function measured(bytes: Uint8Array, exact = false): { memory: number; need: number } {
  const tiler = newTiler();
  const { needBytes } = tiler.tile(bytes, checked({ ...INTERNVL3, exact }), limits);
  return { memory: tiler.memoryBytes, need: needBytes };
}

Deno.test("a JPEG of 12 megapixels takes less than 24 MiB beside its file, whichever way it is turned", () => {
  for (const orientation of [1, 3, 6]) {
    const bytes = jpeg(4032, 3024, { detail: 6, orientation });
    const { memory, need } = measured(bytes);
    assert.ok(memory - bytes.length < 24 * MIB, `${memory / MIB} MiB`);
    assert.ok(need - bytes.length < 24 * MIB, `${need / MIB} MiB promised`);
  }
});

Deno.test("no picture takes more than its header promised", async () => {
  const made = [
    jpeg(1920, 1080),
    jpeg(3000, 2000, { orientation: 6 }),
    jpeg(2000, 3000, { grey: true, orientation: 8 }),
    jpeg(7, 9000),
    jpeg(9000, 5, { orientation: 5 }),
    await png(1600, 900, (x, y) => (x ^ y) & 255),
    await png(900, 1600, (x, y) => (x * y) & 255, { colour: 6 }),
    await png(1500, 1500, () => 9, { colour: 0 }),
    ...pictureNames().map(picture),
  ];
  for (const [index, bytes] of made.entries()) {
    for (const exact of [true, false]) {
      const { memory, need } = measured(bytes, exact);
      assert.ok(memory <= need, `picture ${index}: ${memory} bytes, promised ${need}`);
    }
  }
});

Deno.test("the promise for large pictures is not much more than they take", () => {
  for (const bytes of [jpeg(4032, 3024), jpeg(7746, 5164)]) {
    const { memory, need } = measured(bytes);
    assert.ok(need < memory * 1.05 + 3 * MIB, `${need} bytes promised, ${memory} taken`);
  }
});

const holder = fc.record({
  isIdle: fc.boolean(),
  memoryBytes: fc.oneof(fc.constant(0), fc.nat(100)),
  reservedBytes: fc.nat(100),
}).map((h) => h.isIdle ? { ...h, reservedBytes: 0 } : h);

Deno.test("a placement keeps all workers together within the bound, and none is held back without a reason", () => {
  fc.assert(fc.property(fc.array(holder, { maxLength: 8 }), fc.integer({ min: 1, max: 200 }), (holders, need) => {
    const max = 200;
    const idle = holders.filter(({ isIdle }) => isIdle);
    const running = heldBytes(holders.filter(({ isIdle }) => !isIdle));
    const placement = place(holders, need, max);
    if (placement === undefined) {
      assert.ok(idle.length === 0 || running + need > max, "waits without a reason");
      return;
    }
    const { worker, renew } = placement;
    assert.ok(renew.every(({ isIdle, memoryBytes }) => isIdle && memoryBytes > 0));
    assert.ok(worker === undefined || (worker.isIdle && !renew.includes(worker)));
    if (worker === undefined) {
      assert.ok(renew.length > 0);
      assert.ok(running + need <= max);
    } else {
      const others = holders.filter((other) => other !== worker && !renew.includes(other));
      assert.ok(heldBytes(others) + Math.max(need, worker.memoryBytes) <= max);
    }
  }));
});

Deno.test("pictures wait for memory, and what never fits is refused by its header", async () => {
  const large = jpeg(1700, 1200);
  await using pool = createTilePool({ workers: 3, maxMemoryBytes: 20 * MIB });
  await pool.ready;
  const { needBytes } = await pool.inspectImage(large, INTERNVL3);
  assert.ok(2 * needBytes < 20 * MIB && 3 * needBytes > 20 * MIB, `${needBytes}`);

  let mostHeld = 0;
  const watch = setInterval(() => mostHeld = Math.max(mostHeld, pool.stats.memoryBytes), 1);
  const tiled = Array.from({ length: 6 }, () => pool.tileImage(large.slice(), INTERNVL3));
  assert.deepEqual([pool.stats.running, pool.stats.queued], [2, 4]);
  await Promise.all(tiled);
  clearInterval(watch);
  assert.ok(mostHeld > 0 && mostHeld <= 20 * MIB, `${mostHeld / MIB} MiB`);
  assert.equal(pool.stats.replaced, 0);

  const tooLarge = (error: unknown) =>
    error instanceof TileError && error.reason === "too_much_memory" && error.memory?.maxBytes === 20 * MIB;
  const huge = jpeg(4032, 3024, { detail: 1 });
  await assert.rejects(pool.inspectImage(huge, MANY_TILES), tooLarge);
  await assert.rejects(pool.tileImage(huge, MANY_TILES), tooLarge);
});

Deno.test("idle workers give their memory to a picture that needs it", async () => {
  await using pool = createTilePool({ workers: 3, maxMemoryBytes: 30 * MIB });
  await pool.ready;
  await Promise.all(Array.from({ length: 3 }, () => pool.tileImage(jpeg(1500, 1000), INTERNVL3)));
  assert.ok(pool.stats.memoryBytes > 12 * MIB, "idle workers keep theirs");
  await pool.tileImage(jpeg(4032, 3024, { detail: 1 }), MANY_TILES);
  assert.ok(pool.stats.memoryBytes <= 30 * MIB);
  assert.equal(pool.stats.replaced, 0);
});

Deno.test("an abort frees the memory a picture waits for or holds", async () => {
  await using pool = createTilePool({ workers: 2, maxMemoryBytes: 40 * MIB, abortGraceMs: 0 });
  await pool.ready;
  const stop = new AbortController();
  const aborted = (promise: Promise<unknown>) =>
    assert.rejects(promise, (error) => error instanceof TileError && error.reason === "aborted");
  const both = [1, 2].map(() => aborted(pool.tileImage(jpeg(4032, 3024, { detail: 1 }), MANY_TILES, stop.signal)));
  assert.deepEqual([pool.stats.running, pool.stats.queued], [1, 1]);
  stop.abort();
  await Promise.all(both);
  await pool.tileImage(picture("420.jpg"), SMALL);
  assert.equal(pool.stats.running, 0);
  assert.ok(pool.stats.memoryBytes < 20 * MIB, `${pool.stats.memoryBytes} bytes`);
});

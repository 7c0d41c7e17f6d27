// Owns the proof that a picture is tiled with one call, without a pool of one's own.
import assert from "node:assert/strict";
import { closeTilePool, TileError, tileImage } from "../../edge/tile/mod.ts";
import { checked, INTERNVL3, limits, newTiler, picture } from "./support.ts";

Deno.test("tileImage needs no pool of the caller's, and starts anew after closeTilePool", async () => {
  const expected = newTiler().tile(picture("large.jpg"), checked(INTERNVL3), limits);
  for (let round = 0; round < 2; round++) {
    const { cols, rows, width, height, tiles } = await tileImage(picture("large.jpg"), INTERNVL3);
    assert.deepEqual([cols, rows, width, height], [expected.cols, expected.rows, expected.width, expected.height]);
    assert.deepEqual(tiles, expected.tiles);
    await closeTilePool();
    await closeTilePool();
  }
});

Deno.test("tileImage rejects as a pool does", async () => {
  await assert.rejects(tileImage(new Uint8Array(), INTERNVL3), (error) => error instanceof TileError);
  await assert.rejects(tileImage(picture("large.jpg"), { ...INTERNVL3, tileSize: 0 }), RangeError);
  await closeTilePool();
});

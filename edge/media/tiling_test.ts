/** How a request's own numbers of tiles meet the model's and the server's. */
import { type Announcement, TesseraError } from "@tessera/shared";
import assert from "node:assert/strict";
import { type PictureSource, tilingWish } from "../api/pictures.ts";
import { pictureOptions, tileOptions } from "./tiling.ts";

const model = (maxTiles: number, minTiles = 1) =>
  ({ tile_size: 448, min_tiles: minTiles, max_tiles: maxTiles, thumbnail: true }) as Announcement;
const source = (fields: Partial<PictureSource>): PictureSource => ({
  url: "x",
  param: "messages[1].content[2]",
  optionsParam: "messages[1].content[2].image_url",
  detail: "auto",
  minTiles: null,
  maxTiles: null,
  ...fields,
});
type Wish = Parameters<typeof tilingWish>[0];

/** Fewest and most tiles, and whether there is a thumbnail. */
function cut(picture: Partial<PictureSource>, wish: Wish = {}, announced = model(12)) {
  const options = pictureOptions(announced, tileOptions(announced, tilingWish(wish)), source(picture));
  return [options.minTiles, options.maxTiles, options.thumbnail];
}

function paramOf(run: () => unknown): string | null {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof TesseraError && error.code === "invalid_request", String(error));
    assert.ok(error.message.startsWith(`${error.param} is not valid`), error.message);
    return error.param;
  }
  return assert.fail("nothing was wrong");
}

Deno.test("tiling: low is one tile, high up to twelve or the model's most, auto as the request says", () => {
  assert.deepEqual(cut({ detail: "low" }), [1, 1, false]);
  assert.deepEqual(cut({ detail: "low" }, { min_dynamic_patch: 4 }), [1, 1, false]);
  assert.deepEqual(cut({ detail: "high" }), [1, 12, true]);
  assert.deepEqual(cut({ detail: "high" }, {}, model(6)), [1, 6, true]);
  assert.deepEqual(cut({ detail: "high" }, {}, model(40)), [1, 12, true]);
  assert.deepEqual(cut({ detail: "high" }, { max_dynamic_patch: 4 }), [1, 12, true]);
  assert.deepEqual(cut({}), [1, 12, true]);
  assert.deepEqual(cut({}, { min_dynamic_patch: 2, max_dynamic_patch: 4, use_thumbnail: false }), [2, 4, false]);
  assert.deepEqual(cut({}, {}, model(64, 3)), [3, 64, true]);
});

Deno.test("tiling: a picture's own numbers come first", () => {
  assert.deepEqual(cut({ maxTiles: 6 }, { max_dynamic_patch: 4 }), [1, 6, true]);
  assert.deepEqual(cut({ maxTiles: 2 }, { min_dynamic_patch: 4 }), [2, 2, true]);
  assert.deepEqual(cut({ minTiles: 5 }, { max_dynamic_patch: 4 }), [5, 5, true]);
  assert.deepEqual(cut({ minTiles: 3, maxTiles: 6, detail: "high" }), [3, 6, true]);
  assert.deepEqual(cut({ maxTiles: 40 }, {}, model(40)), [1, 40, true]);
  assert.deepEqual(cut({ maxTiles: 1, detail: "low" }), [1, 1, false]);
});

Deno.test("tiling: beyond the model is an error that names the field", () => {
  const own = "messages[1].content[2].image_url";
  assert.equal(paramOf(() => cut({ maxTiles: 13 })), `${own}.max_dynamic_patch`);
  assert.equal(paramOf(() => cut({ minTiles: 13 })), `${own}.min_dynamic_patch`);
  assert.equal(paramOf(() => cut({ minTiles: 5, maxTiles: 4 })), `${own}.min_dynamic_patch`);
  assert.equal(paramOf(() => cut({ maxTiles: 2, detail: "low" })), `${own}.max_dynamic_patch`);
  assert.equal(paramOf(() => cut({ minTiles: 2, detail: "low" })), `${own}.min_dynamic_patch`);
  assert.equal(paramOf(() => cut({ maxTiles: 65 }, {}, model(100))), `${own}.max_dynamic_patch`);
  assert.equal(paramOf(() => cut({}, { max_dynamic_patch: 13 })), "mm_processor_kwargs.max_dynamic_patch");
  assert.equal(paramOf(() => cut({}, { min_dynamic_patch: 13 })), "mm_processor_kwargs.min_dynamic_patch");
});

// Owns the proof that tiles are Pillow's to the byte, and grids the vendor's; see tests/golden/tiler.
import assert from "node:assert/strict";
import { bmpHeader, checked, concat, goldens, limits, newTiler, picture, pictureNames, sha256 } from "./support.ts";

for (const file of pictureNames()) {
  Deno.test(`tiles of ${file} are Pillow's`, async () => {
    const tiler = newTiler();
    const cases = goldens.cases.filter((golden) => golden.file === file);
    assert.ok(cases.length > 0, "every picture has a golden");
    for (const golden of cases) {
      const image = tiler.tile(picture(file), checked(golden.options), limits);
      const actual = {
        ...golden,
        sourceWidth: image.sourceWidth,
        sourceHeight: image.sourceHeight,
        cols: image.cols,
        rows: image.rows,
        tiles: image.tiles.length,
        hash: await sha256(concat(image.tiles)),
      };
      assert.deepEqual(actual, golden);
      assert.equal(image.tileCount, image.tiles.length);
      assert.deepEqual([image.width, image.height], [
        golden.cols * golden.options.tileSize,
        golden.rows * golden.options.tileSize,
      ]);
    }
  });
}

/** 8000x8000 is more than the server's limit. */
const ANY_SIZE = { maxPixels: 64_000_000, maxSide: 8_000 };

/** The sizes of make_goldens.py, in its order. */
function* sizes(): Generator<[number, number]> {
  for (let w = 1; w < 49; w++) for (let h = 1; h < 49; h++) yield [w, h];
  for (let w = 50; w < 4000; w += 97) for (let h = 50; h < 4000; h += 97) yield [w, h];
  for (let w = 1; w < 33; w++) for (let h = 1; h < 33; h++) yield [w * 56, h * 56];
  for (let w = 1; w < 33; w++) for (let h = 1; h < 33; h++) yield [w * 250, h * 250];
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return 1 + (state >>> 8) % 8000;
  };
  for (let i = 0; i < 8000; i++) yield [random(), random()];
}

for (const golden of goldens.grids) {
  const { tileSize, minTiles, maxTiles } = golden;
  Deno.test(`grids of ${minTiles}..${maxTiles} tiles of ${tileSize} are the vendor's for ${golden.count} sizes`, async () => {
    const tiler = newTiler();
    const options = checked({ tileSize, minTiles, maxTiles, thumbnail: true, exact: true });
    const lines = Array.from(sizes(), ([width, height]) => {
      const { cols, rows } = tiler.inspect(bmpHeader(width, height), options, ANY_SIZE);
      return `${width}x${height} ${cols}x${rows}`;
    });
    assert.equal(lines.length, golden.count);
    assert.equal(await sha256(new TextEncoder().encode(lines.join("\n"))), golden.hash);
  });
}

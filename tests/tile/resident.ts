// Owns the process that resident_test.ts watches: tiles 200 mixed pictures and prints its resident memory in bytes,
// one line for every ten. Needs --v8-flags=--expose-gc: what nobody holds any more is not to be measured.
import { createTilePool } from "../../edge/tile/mod.ts";
import { jpeg } from "../support/jpeg_writer.ts";
import { png } from "../support/png_writer.ts";

const NUM_PICTURES = 200;
const ABREAST = 3;
const GOLDENS = new URL("../golden/tiler/pictures/", import.meta.url);
const OPTIONS = { tileSize: 448, minTiles: 1, maxTiles: 12, thumbnail: true };

const kinds = [
  jpeg(640, 480),
  jpeg(1920, 1080),
  jpeg(4032, 3024, { detail: 2 }),
  jpeg(2000, 1500, { orientation: 6 }),
  await png(1280, 720, (x, y) => (x & y) & 255),
  ...["large.jpg", "420_progressive.jpg", "lossy_alpha.webp", "plain.gif", "rgb24.bmp"].map((name) =>
    Deno.readFileSync(new URL(name, GOLDENS))
  ),
];

await using pool = createTilePool({ workers: 2, maxMemoryBytes: 160 * 1024 * 1024 });
await pool.ready;
const needs = await Promise.all(kinds.map(async (kind) => (await pool.inspectImage(kind, OPTIONS)).needBytes));
const greediest = kinds[needs.indexOf(Math.max(...needs))]!;
let next = 0;
const lane = async (end: number) => {
  while (next < end) {
    // The first two at once need the most, one for each worker: from then on the workers' memory is all there. Of the
    // first twenty two in a row are alike, so that both workers have met every kind and compiled what it takes.
    const picture = next < 2 ? greediest : kinds[(next < 20 ? next >> 1 : next) % kinds.length]!;
    next++;
    await pool.tileImage(picture.slice(), OPTIONS);
  }
};
while (next < NUM_PICTURES) {
  // Nothing is in flight when memory is read.
  const end = next + 10;
  await Promise.all(Array.from({ length: ABREAST }, () => lane(end)));
  console.log(await settled());
}

/** The least of a few readings, garbage collected before each. */
async function settled(): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < 3; i++) {
    (globalThis as { gc?: () => void }).gc?.();
    least = Math.min(least, Deno.memoryUsage().rss);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return least;
}

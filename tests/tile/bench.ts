// Owns a measurement: the best of several runs on each file given, by stage, in one thread and without the pool.
// Run: deno run -A tests/tile/bench.ts photo.jpg ...
import { checkTileOptions } from "../../edge/tile/options.ts";
import { loadTilerModule, Tiler } from "../../edge/tile/tiler.ts";

const RUNS = 20;
const options = checkTileOptions({ tileSize: 448, minTiles: 1, maxTiles: 12, thumbnail: true, exact: true });
const limits = { maxPixels: 268_435_456, maxSide: 65_535 };
const module = await loadTilerModule();

for (const file of Deno.args) {
  const tiler = new Tiler(module);
  const bytes = await Deno.readFile(file);
  const runs = Array.from({ length: RUNS }, () => tiler.tile(bytes, options, limits))
    .map(({ timings }) => ({ ...timings, allMs: timings.decodeMs + timings.resizeMs + timings.cutMs }))
    .sort((a, b) => a.allMs - b.allMs);
  const [best, median] = [runs[0]!, runs[RUNS >> 1]!];
  const { sourceWidth, sourceHeight, tileCount } = tiler.inspect(bytes, options, limits);
  console.log(
    `${file.split("/").at(-1)} ${sourceWidth}x${sourceHeight}, ${tileCount} tiles:`,
    `decode ${best.decodeMs.toFixed(1)} + resize ${best.resizeMs.toFixed(1)} + cut ${best.cutMs.toFixed(1)}`,
    `= ${best.allMs.toFixed(1)} ms (median ${median.allMs.toFixed(1)}),`,
    `memory ${(tiler.memoryBytes / 2 ** 20).toFixed(0)} MiB`,
  );
}

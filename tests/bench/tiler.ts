/** The tiler against Pillow and pillow-simd, one thread each, runs interleaved; then all cores against one. */
import { createTilePool } from "../../edge/tile/mod.ts";
import { checkTileOptions } from "../../edge/tile/options.ts";
import { loadTilerModule, Tiler } from "../../edge/tile/tiler.ts";
import { dataDir, ROOT } from "../../infra/tools/paths.ts";
import { run } from "../../infra/tools/process.ts";
import { ensurePillow, ensurePillowSimd } from "../../infra/tools/python.ts";
import { PillowSide, type Steps } from "./pillow.ts";
import { median, printTable, summary } from "./report.ts";

const OPTIONS = { tileSize: 448, minTiles: 1, maxTiles: 12, thumbnail: true, exact: true };
const LIMITS = { maxPixels: 100_000_000, maxSide: 65_535 };
/** Time given to each picture; the number of rounds follows from it. */
const PICTURE_MS = 12_000;
const MIN_ROUNDS = 5;
const MAX_ROUNDS = 30;

/** One engine's run on the picture at `path`. */
interface Engine {
  readonly name: string;
  run(path: string): Promise<Steps>;
}

export async function benchTiler(): Promise<void> {
  const python = await ensurePillow();
  const folder = `${dataDir()}/bench`;
  await run(python, [`${ROOT}/tests/bench/pictures.py`, folder]);
  const paths = Array.from(Deno.readDirSync(folder), ({ name }) => `${folder}/${name}`).sort();
  const module = await loadTilerModule();
  const grids = await gridsOf(paths, module);

  const sides = [{ name: "Pillow", side: await PillowSide.start(python) }];
  try {
    sides.push({ name: "pillow-simd", side: await PillowSide.start(await ensurePillowSimd()) });
  } catch (error) {
    console.log(`Without pillow-simd, which needs a C compiler and the headers of libjpeg and zlib:\n${error}\n`);
  }
  const engines: Engine[] = [
    { name: "Tessera", run: (path) => Promise.resolve(tileOnce(module, path)) },
    ...sides.map(({ name, side }) => ({
      name: `${name} ${side.version}`,
      run: (path: string) => side.run({ path, tileSize: OPTIONS.tileSize, ...grids.get(path)! }),
    })),
  ];
  console.log("One thread each, interleaved; ms, median of runs, ± half the middle half.\n");
  for (const path of paths) await comparePicture(path, engines);
  for (const { side } of sides) await side.stop();
  await allCores(paths);
}

async function gridsOf(paths: readonly string[], module: WebAssembly.Module) {
  const tiler = new Tiler(module);
  const grids = new Map<string, { cols: number; rows: number }>();
  for (const path of paths) {
    const { cols, rows } = tiler.inspect(await Deno.readFile(path), checkTileOptions(OPTIONS), LIMITS);
    grids.set(path, { cols, rows });
  }
  return grids;
}

const tilers = new Map<string, Tiler>();

/** Reads the file as Pillow does; the instance is kept for its size of picture, as a worker's is. */
function tileOnce(module: WebAssembly.Module, path: string): Steps {
  const tiler = tilers.get(path) ?? new Tiler(module);
  tilers.clear();
  tilers.set(path, tiler);
  const start = performance.now();
  const bytes = Deno.readFileSync(path);
  const readMs = performance.now() - start;
  const { decodeMs, resizeMs, cutMs } = tiler.tile(bytes, checkTileOptions(OPTIONS), LIMITS).timings;
  return { decode: readMs + decodeMs, resize: resizeMs, cut: cutMs };
}

async function comparePicture(path: string, engines: readonly Engine[]): Promise<void> {
  const runs = engines.map((): Steps[] => []);
  for (const engine of engines) await engine.run(path);
  const end = performance.now() + PICTURE_MS;
  for (let round = 0; round < MAX_ROUNDS && (round < MIN_ROUNDS || performance.now() < end); round++) {
    for (const [index, engine] of engines.entries()) runs[index]!.push(await engine.run(path));
  }
  const all = ({ decode, resize, cut }: Steps) => decode + resize + cut;
  const ours = runs[0]!.map(all);
  console.log(`${path.split("/").at(-1)}, ${runs[0]!.length} runs`);
  const rows = engines.map(({ name }, index) => {
    const mine = runs[index]!;
    const times = (pick: (steps: Steps) => number) => mine.map(pick);
    const ratios = times(all).map((ms, round) => ms / ours[round]!);
    return [
      `  ${name}`,
      summary(times(({ decode }) => decode)),
      summary(times(({ resize }) => resize)),
      summary(times(({ cut }) => cut)),
      summary(times(all)),
      index === 0
        ? ""
        : `${median(ratios).toFixed(2)}x (${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)})`,
    ];
  });
  printTable(["", "decode", "resize", "cut", "all", "Tessera is faster"], rows);
  console.log();
}

/** Pictures per second of the pool with one worker and with one for each core: hashing and hand-over included. */
async function allCores(paths: readonly string[]): Promise<void> {
  const cores = navigator.hardwareConcurrency;
  const pictures = paths.filter((path) => !path.includes("40mp")).map((path) => Deno.readFileSync(path));
  const rounds: [number, number][] = [];
  for (let round = 0; round < 5; round++) rounds.push([await rate(1, pictures), await rate(cores, pictures)]);
  const efficiency = rounds.map(([one, all]) => all / one / cores);
  console.log(
    `All cores: ${summary(rounds.map(([one]) => one))} pictures/s with one worker, ` +
      `${summary(rounds.map(([, all]) => all))} with ${cores}: ${median(efficiency).toFixed(2)} x cores x one ` +
      `(${Math.min(...efficiency).toFixed(2)}-${Math.max(...efficiency).toFixed(2)})`,
  );
}

/**
 * With two pictures a worker on their way, as a server keeps them; long enough that the end, when a worker has nothing left
 * to do while another still tiles, weighs little.
 */
async function rate(workers: number, pictures: readonly Uint8Array[]): Promise<number> {
  await using pool = createTilePool({ workers, maxQueue: 2 * workers });
  await pool.ready;
  const tile = async (count: number) => {
    let next = 0;
    const lane = async () => {
      while (next < count) await pool.tileImage(pictures[next++ % pictures.length]!.slice(), OPTIONS);
    };
    await Promise.all(Array.from({ length: 2 * workers }, lane));
  };
  await tile(workers * pictures.length);
  const numPictures = 20 * workers * pictures.length;
  const began = performance.now();
  await tile(numPictures);
  return numPictures / (performance.now() - began) * 1000;
}

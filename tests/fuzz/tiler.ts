/** Fuzzes the tile pool: damaged files must be tiled or refused, with no trap, no hang and no growth. */
import { checkTileOptions } from "../../edge/tile/options.ts";
import { createTilePool, TileError, type TileReason } from "../../edge/tile/mod.ts";
import { loadTilerModule, Tiler } from "../../edge/tile/tiler.ts";
import { jpeg } from "../support/jpeg_writer.ts";
import { png, pngChunk } from "../support/png_writer.ts";
import { mutated, Random } from "./mutate.ts";

const PICTURES = new URL("../golden/tiler/pictures/", import.meta.url);
/** Larger files are damaged as easily and take longer. */
const MAX_CORPUS_BYTES = 8_000;
/** A mutation can promise a huge picture; the limit keeps one file to a few milliseconds. */
const LIMITS = { maxPixels: 1_000_000, maxSide: 16_384 };
const OPTIONS = { tileSize: 14, minTiles: 1, maxTiles: 6, thumbnail: true };
const HANG_MS = 10_000;
/** Reasons that blame the file. Anything else is a fault of the tiler. */
const REFUSALS: readonly TileReason[] = ["empty", "unsupported_format", "truncated", "corrupt", "too_many_pixels"];
const ABREAST = 8;

export interface FuzzReport {
  readonly numFiles: number;
  /** Files by what came of them: `tiled` or a reason. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** What must not happen, each with the number that makes the file again. */
  readonly faults: readonly string[];
  /** Resident memory after a tenth of the files and at the end, in bytes. */
  readonly residentBytes: readonly [number, number];
}

/** Pictures to damage: the small goldens and a few that were made to be odd. */
export async function corpus(): Promise<Uint8Array[]> {
  const names = Array.from(Deno.readDirSync(PICTURES), (entry) => entry.name).sort();
  const goldens = names.map((name) => Deno.readFileSync(new URL(name, PICTURES)));
  const own = [
    jpeg(40, 30, { orientation: 6 }),
    jpeg(17, 33, { grey: true, detail: 9 }),
    await png(20, 20, (x, y) => x * y, { colour: 6, extra: [pngChunk("tEXt", new Uint8Array(300))] }),
    await png(30, 3, (x) => x, { extra: [pngChunk("iCCP", Uint8Array.of(120, 0, 0, 1, 2, 3))] }),
  ];
  return [...goldens, ...own].filter((bytes) => bytes.length < MAX_CORPUS_BYTES);
}

export async function fuzzTiler(numFiles: number, seed: number, workers: number): Promise<FuzzReport> {
  const files = await corpus();
  const outcomes: Record<string, number> = {};
  const faults: string[] = [];
  await using pool = createTilePool({ workers, ...LIMITS, timeoutMs: HANG_MS, maxQueue: ABREAST });
  await pool.ready;
  const header = new Tiler(await loadTilerModule());
  let early = 0;
  let next = 0;
  const lane = async () => {
    while (next < numFiles) {
      const index = next++;
      if (index === Math.floor(numFiles / 10)) early = resident();
      const bytes = mutated(files, new Random(seed + index * 7_919));
      const options = { ...OPTIONS, exact: index % 2 === 0 };
      const inspected = outcome(() => header.inspect(bytes, checkTileOptions(options), LIMITS));
      const tiled = await pool.tileImage(bytes, options).then(() => "tiled", reasonOf);
      outcomes[tiled] = (outcomes[tiled] ?? 0) + 1;
      const isFine = tiled === "tiled" || REFUSALS.includes(tiled as TileReason);
      // The header's own refusals come before the pool does anything.
      const agrees = inspected === "tiled" || inspected === tiled;
      if (!isFine || !agrees) faults.push(`file ${index}: ${tiled}, its header: ${inspected}`);
    }
  };
  await Promise.all(Array.from({ length: ABREAST }, lane));
  if (pool.stats.replaced > 0) faults.push(`${pool.stats.replaced} workers had to be replaced`);
  if (pool.stats.memoryBytes > workers * 24 * 1024 * 1024) faults.push(`workers hold ${pool.stats.memoryBytes} bytes`);
  return { numFiles, outcomes, faults, residentBytes: [early, resident()] };
}

function outcome(run: () => unknown): string {
  try {
    run();
    return "tiled";
  } catch (error) {
    return reasonOf(error);
  }
}

function reasonOf(error: unknown): string {
  return error instanceof TileError ? error.reason : `not a TileError: ${error}`;
}

function resident(): number {
  return Deno.memoryUsage().rss;
}

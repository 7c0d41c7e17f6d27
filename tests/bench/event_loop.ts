/** The delay of an edge's event loop while its pool tiles pictures of 12 megapixels back to back. */
import { dataDir } from "../../infra/tools/paths.ts";
import { startNatsServer } from "../../infra/nats/server.ts";
import { createTilePool, type TilePool } from "../../edge/tile/mod.ts";
import { DEFAULT_WAITS, startEdge } from "../../edge/mod.ts";
import { silentLogger } from "@tessera/shared";
import { jpeg } from "../support/jpeg_writer.ts";
import { printTable, quantile } from "./report.ts";

const OPTIONS = { tileSize: 448, minTiles: 1, maxTiles: 12, thumbnail: true };
const TICK_MS = 2;
const SECONDS = 15;
const MIB = 1024 * 1024;

export async function benchEventLoop(): Promise<void> {
  const cores = navigator.hardwareConcurrency;
  const photo = await Deno.readFile(`${dataDir()}/bench/jpeg_4032x3024.jpg`).catch(() =>
    jpeg(4032, 3024, { detail: 12 })
  );
  console.log(
    `An edge that tiles 12-megapixel JPEGs (${(photo.length / MIB).toFixed(1)} MiB) for ${SECONDS} s; ` +
      `delay of a timer of ${TICK_MS} ms, and of GET /healthz, in ms. ${cores} cores.\n`,
  );
  const rows: string[][] = [];
  for (const workers of [...new Set([1, Math.max(1, cores - 1), cores])]) rows.push(await measure(workers, photo));
  printTable(["workers", "pictures", "p50", "p99", "max", "healthz p50", "p99", "max"], rows);
}

async function measure(workers: number, photo: Uint8Array): Promise<string[]> {
  const nats = await startNatsServer({});
  const tilePool = createTilePool({ workers });
  await tilePool.ready;
  const edge = await startEdge({
    config: {
      host: "127.0.0.1",
      port: 0,
      natsUrl: nats.url,
      numTileWorkers: workers,
      maxInflight: 64,
      maxHeldBytes: 512 * MIB,
      maxTileBytes: 768 * MIB,
      deadlineMs: 60_000,
      drainMs: 0,
      allowPrivateUrls: false,
      waits: DEFAULT_WAITS,
    },
    log: silentLogger,
    tilePool,
  });
  const end = performance.now() + SECONDS * 1000;
  try {
    const [pictures, ticks, pings] = await Promise.all([
      tileUntil(end, tilePool, workers, photo),
      tickUntil(end),
      pingUntil(end, edge.url),
    ]);
    const spread = (values: number[]) => [0.5, 0.99, 1].map((share) => quantile(values, share).toFixed(1));
    return [String(workers), String(pictures), ...spread(ticks), ...spread(pings)];
  } finally {
    await edge.close();
    await tilePool.close();
    await nats.stop();
  }
}

/** As a request does it: inspect on the event loop, tile in a worker, one more always waiting. */
async function tileUntil(end: number, pool: TilePool, workers: number, photo: Uint8Array): Promise<number> {
  let numTiled = 0;
  const lane = async () => {
    for (; performance.now() < end; numTiled++) {
      const bytes = photo.slice();
      const inspection = await pool.inspectImage(bytes, OPTIONS);
      await pool.tileImage(bytes, OPTIONS, undefined, inspection);
    }
  };
  await Promise.all(Array.from({ length: workers + 1 }, lane));
  return numTiled;
}

async function tickUntil(end: number): Promise<number[]> {
  const delays: number[] = [];
  while (performance.now() < end) {
    const due = performance.now() + TICK_MS;
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    delays.push(Math.max(0, performance.now() - due));
  }
  return delays;
}

async function pingUntil(end: number, url: string): Promise<number[]> {
  const times: number[] = [];
  while (performance.now() < end) {
    const began = performance.now();
    await (await fetch(`${url}/healthz`)).text();
    times.push(performance.now() - began);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return times;
}

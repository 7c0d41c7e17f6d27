/** What the bus adds: job to first tile, last token to SSE byte, 13 tiles; each against raw NATS in the same run. */
import { type Logger, silentLogger } from "@tessera/shared";
import { setTimeout as delay } from "node:timers/promises";
import { type Edge, startEdge } from "../../../edge/mod.ts";
import { connectNats } from "../../../gpu-worker/intake/connect.ts";
import { startNatsServer } from "../../../infra/nats/server.ts";
import { testConfig, until } from "../../edge/harness.ts";
import { median, printTable, quantile } from "../report.ts";
import { readEvents } from "./client.ts";
import { clock } from "./clock.ts";
import { newPicture, NUM_TILES, TILE_BYTES, UnseenPictures } from "./pictures.ts";
import { rawBus } from "./raw.ts";
import { startTimedWorker, type TimedWorker } from "./worker.ts";

/** Rounds before those that count: servers run for long, and so does their compiled code. */
const WARM_ROUNDS = 150;
const ROUNDS = 100;
/** Time of a step, and the pause before whatever is measured, so that all find the machine in the same state. */
const STEP_MS = 2;
/** Enough that the stream is open, and its head sent, well before the last. */
const NUM_TOKENS = 6;

const MEASURED = ["small", "tile", "tiles", "firstTile", "allTiles", "onlyByte", "lastByte"] as const;
type Times = Record<typeof MEASURED[number], number[]>;

/** What is measured. */
interface Fleet {
  readonly edge: Edge;
  readonly worker: TimedWorker;
  /** When the edge granted the latest claim. */
  readonly claim: { grantedAt: number };
}

export async function benchBus(): Promise<void> {
  const nats = await startNatsServer();
  const nc = await connectNats(nats.url, "raw a");
  const claim = { grantedAt: 0 };
  const worker = await startTimedWorker(nats.url, nc);
  const tilePool = new UnseenPictures();
  const edge = await startEdge({ config: testConfig(nats.url), log: claimsTo(claim), tilePool });
  try {
    await until(() => edge.deps.directory.isServed());
    const raw = await rawBus(nc);
    const times = Object.fromEntries(MEASURED.map((name): [string, number[]] => [name, []])) as Times;
    for (let round = 0; round < WARM_ROUNDS + ROUNDS; round++) {
      const measured = {
        small: await afterPause(() => raw.roundTrip(100)),
        tile: await afterPause(() => raw.roundTrip(TILE_BYTES)),
        tiles: await afterPause(() => raw.publishTiles()),
        ...await askAboutPicture({ edge, worker, claim }),
        ...await askForTokens({ edge, worker, claim }, round),
      };
      if (round < WARM_ROUNDS) continue;
      for (const name of MEASURED) times[name].push(measured[name]);
    }
    print(times);
  } finally {
    await Promise.all([edge.close(), worker.stop()]);
    await nc.close();
    await nats.stop();
  }
}

async function afterPause<T>(measure: () => Promise<T>): Promise<T> {
  await delay(STEP_MS);
  return await measure();
}

/** Asks for one token about a picture nobody has seen. */
async function askAboutPicture(
  { edge, worker, claim }: Fleet,
): Promise<Pick<Record<keyof Times, number>, "firstTile" | "allTiles" | "onlyByte">> {
  const { dispatcher } = edge.deps;
  const start = dispatcher.start.bind(dispatcher);
  let publishedAt = 0;
  dispatcher.start = (...args) => {
    publishedAt = clock();
    return start(...args);
  };
  const content = [{ type: "image_url", image_url: { url: newPicture() } }, { type: "text", text: "q" }];
  await worker.begin(0);
  const events = await afterPause(() => readEvents(edge.port, body(content, 1)));
  dispatcher.start = start;
  const { tilesAt, sampledAt } = await worker.times();
  if (tilesAt.length !== NUM_TILES) throw new Error(`${tilesAt.length} tiles came, expected ${NUM_TILES}`);
  return {
    firstTile: tilesAt[0]! - publishedAt,
    allTiles: tilesAt.at(-1)! - claim.grantedAt,
    onlyByte: events[1]! - sampledAt.at(-1)!,
  };
}

/** Asks for a few tokens, which come one by one. */
async function askForTokens(
  { edge, worker }: Fleet,
  round: number,
): Promise<Pick<Record<keyof Times, number>, "lastByte">> {
  await worker.begin(STEP_MS);
  const events = await readEvents(edge.port, body([{ type: "text", text: `q ${round}` }], NUM_TOKENS));
  const { sampledAt } = await worker.times();
  return { lastByte: events[NUM_TOKENS]! - sampledAt.at(-1)! };
}

function body(content: readonly unknown[], max_tokens: number): string {
  return JSON.stringify({ model: "fake", stream: true, max_tokens, messages: [{ role: "user", content }] });
}

/** An edge's log that notes when a claim was granted. */
function claimsTo(claim: Fleet["claim"]): Logger {
  return {
    ...silentLogger,
    debug: (event, { granted } = {}) => {
      if (event === "claim" && granted === true) claim.grantedAt = clock();
    },
  };
}

function print(times: Times): void {
  const ms = (values: readonly number[]) => [median(values).toFixed(2), quantile(values, 0.9).toFixed(2)];
  const against = (of: readonly number[], to: readonly number[]) => `${(median(of) / median(to)).toFixed(2)} x`;
  const rate = `${(100 * median(times.tiles) / median(times.allTiles)).toFixed(0)} % of the raw rate`;
  const hops = times.small.map((small, i) => small + times.tile[i]!);
  console.log(`${ROUNDS} rounds, ${NUM_TILES} tiles of ${TILE_BYTES} bytes; an edge, a worker, a nats-server; ms\n`);
  printTable(["", "p50", "p90", "against raw"], [
    ["raw round trip, 100 bytes", ...ms(times.small), ""],
    ["raw round trip, a tile and a small reply", ...ms(times.tile), ""],
    [`raw, ${NUM_TILES} tiles published and hashed`, ...ms(times.tiles), ""],
    ["job published -> first tile in the engine", ...ms(times.firstTile), against(times.firstTile, hops)],
    ["last token sampled -> SSE byte at the client", ...ms(times.lastByte), against(times.lastByte, times.small)],
    ["only token sampled -> head and SSE byte", ...ms(times.onlyByte), against(times.onlyByte, times.small)],
    [`claim granted -> ${NUM_TILES} tiles in the engine`, ...ms(times.allTiles), rate],
  ]);
  console.log("\nThe first tile against two round trips: a small one, the claim, and that of a tile.");
}

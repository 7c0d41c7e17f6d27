/** What the bus adds: job to first tile, last token to SSE byte, 13 tiles; each against raw NATS in the same run. */
import { headers, type NatsConnection } from "@nats-io/nats-core";
import { GREEDY, sha256Hex, silentLogger, tileHeaders } from "@tessera/shared";
import { startEdge } from "../../edge/mod.ts";
import type { StepBatch, StepResult } from "../../gpu-worker/engine/types.ts";
import { connectNats } from "../../gpu-worker/intake/connect.ts";
import { startWorker } from "../../gpu-worker/mod.ts";
import { startNatsServer } from "../../infra/nats/server.ts";
import { fakePicture, FakeTilePool } from "../edge/fake_tile_pool.ts";
import { testConfig, until } from "../edge/harness.ts";
import { FakeEngine } from "../support/fake_engine.ts";
import { letters } from "../support/fake_history.ts";
import { ADDED, handmadeTokenizer } from "../worker/handmade_tokenizer.ts";
import { median, printTable, quantile } from "./report.ts";

const ROUNDS = 40;
const TILE_SIZE = 448;
const TILE_BYTES = TILE_SIZE * TILE_SIZE * 3;
const NUM_TILES = 13;

/** Notes when tiles reach the engine and when a token was sampled. */
class TimedEngine extends FakeEngine {
  firstTileAt = 0;
  sampledAt = 0;

  override encodeTiles(pixels: Uint8Array, slots: Int32Array): Promise<void> {
    this.firstTileAt ||= performance.now();
    return super.encodeTiles(pixels, slots);
  }

  override async step(batch: StepBatch): Promise<StepResult> {
    const result = await super.step(batch);
    this.sampledAt = performance.now();
    return result;
  }
}

export async function benchBus(): Promise<void> {
  const nats = await startNatsServer();
  const engine = new TimedEngine({
    choose: letters,
    info: {
      tileSize: TILE_SIZE,
      tokensPerTile: 1,
      kvBlockSize: 16,
      numKvBlocks: 256,
      contextLength: 512,
      numTileSlots: 4_096,
    },
  });
  const lines: Record<string, unknown>[] = [];
  const log = { ...silentLogger, info: (event: string, fields = {}) => void lines.push({ event, ...fields }) };
  const worker = await startWorker({
    nc: await connectNats(nats.url, "worker"),
    engine,
    tokenizer: handmadeTokenizer(),
    facts: {
      name: "fake",
      created: 0,
      minTiles: 1,
      maxTiles: 12,
      thumbnail: true,
      tileSize: TILE_SIZE,
      tokensPerTile: 1,
      systemText: "",
      eosIds: new Set([ADDED["<|im_end|>"]]),
      generation: GREEDY,
    },
    log: { ...log, with: () => ({ ...log, with: () => silentLogger }) },
  }, { maxSequences: 4, tokenBudget: 512 });
  const tilePool = new FakeTilePool();
  const edge = await startEdge({ config: testConfig(nats.url), log: silentLogger, tilePool });
  const [a, b] = await Promise.all([connectNats(nats.url, "raw a"), connectNats(nats.url, "raw b")]);
  try {
    await until(() => edge.deps.directory.isServed());
    const raw = await rawBus(a, b);
    const times: Record<"small" | "tile" | "tiles" | "first" | "byte" | "all", number[]> = {
      small: [],
      tile: [],
      tiles: [],
      first: [],
      byte: [],
      all: [],
    };
    for (let round = 0; round < ROUNDS; round++) {
      times.small.push(await raw.roundTrip(100));
      times.tile.push(await raw.roundTrip(TILE_BYTES));
      times.tiles.push(await raw.publishTiles());
      engine.firstTileAt = 0;
      let publishedAt = 0;
      const start = edge.deps.dispatcher.start.bind(edge.deps.dispatcher);
      edge.deps.dispatcher.start = (...args) => {
        publishedAt = performance.now();
        return start(...args);
      };
      const byteAt = await ask(edge.url, round);
      edge.deps.dispatcher.start = start;
      times.first.push(engine.firstTileAt - publishedAt);
      times.byte.push(byteAt - engine.sampledAt);
      const done = lines.findLast(({ event }) => event === "job_done")!;
      times.all.push(Number(done["tiles_ms"]));
    }
    const ms = (values: readonly number[]) => [median(values).toFixed(2), quantile(values, 0.9).toFixed(2)];
    const ratio = (of: readonly number[], to: readonly number[]) => `${(median(of) / median(to)).toFixed(2)} x`;
    const hops = times.small.map((small, i) => small + times.tile[i]!);
    console.log(`${ROUNDS} requests with ${NUM_TILES} tiles of ${TILE_BYTES} bytes, everything in one process; ms\n`);
    printTable(["", "p50", "p90", "against raw"], [
      ["raw round trip, 100 bytes", ...ms(times.small), ""],
      ["raw round trip, a tile and a small reply", ...ms(times.tile), ""],
      [`raw, ${NUM_TILES} tiles published and hashed`, ...ms(times.tiles), ""],
      ["job published -> first tile in the engine", ...ms(times.first), ratio(times.first, hops)],
      ["last token sampled -> SSE byte at the client", ...ms(times.byte), ratio(times.byte, times.small)],
      [`claim granted -> ${NUM_TILES} tiles checked`, ...ms(times.all), rate(times.tiles, times.all)],
    ]);
    console.log(
      "\nFirst tile against one small and one tile round trip: storing the job and claiming it, and the tile.",
    );
  } finally {
    await Promise.all([a.close(), b.close(), edge.close()]);
    await worker.close();
    await nats.stop();
  }
}

function rate(raw: readonly number[], ours: readonly number[]): string {
  return `${(100 * median(raw) / median(ours)).toFixed(0)} % of the raw rate`;
}

/** Asks for one token about new pictures; returns when the chunk with its text was read. */
async function ask(url: string, seed: number): Promise<number> {
  const content = [
    { type: "image_url", image_url: { url: fakePicture(4, 3, seed) } },
    { type: "text", text: `q ${seed}` },
  ];
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "fake", stream: true, max_tokens: 1, messages: [{ role: "user", content }] }),
  });
  if (!response.ok) throw new Error(await response.text());
  const reader = response.body!.getReader();
  let at = 0;
  for (let read = await reader.read(); !read.done; read = await reader.read()) at ||= performance.now();
  return at;
}

/** The same messages without anything of ours but the check of a tile's hash. */
async function rawBus(a: NatsConnection, b: NatsConnection) {
  b.subscribe("raw.echo", { callback: (_error, msg) => void msg.respond("ok") });
  const pixels = Array.from({ length: NUM_TILES }, (_, i) => new Uint8Array(TILE_BYTES).fill(i));
  const hashes = await Promise.all(pixels.map(sha256Hex));
  let left = 0;
  let whole = Promise.withResolvers<void>();
  b.subscribe("raw.tiles", {
    callback: (_error, msg) => {
      void sha256Hex(msg.data).then(() => --left === 0 && whole.resolve());
    },
  });
  await b.flush();
  return {
    async roundTrip(numBytes: number): Promise<number> {
      const began = performance.now();
      await a.request("raw.echo", new Uint8Array(numBytes));
      return performance.now() - began;
    },
    async publishTiles(): Promise<number> {
      left = NUM_TILES;
      whole = Promise.withResolvers<void>();
      const began = performance.now();
      pixels.forEach((tile, i) => {
        const described = headers();
        for (const [name, value] of tileHeaders({ hash: hashes[i]!, size: TILE_SIZE })) described.set(name, value);
        a.publish("raw.tiles", tile, { headers: described });
      });
      await whole.promise;
      return performance.now() - began;
    },
  };
}

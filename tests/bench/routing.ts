/** Conversations of several turns over two workers: what of their prompts is cached, routed and at random. */
import { GREEDY, silentLogger } from "@tessera/shared";
import { startEdge } from "../../edge/mod.ts";
import { connectNats } from "../../gpu-worker/intake/connect.ts";
import { startWorker } from "../../gpu-worker/mod.ts";
import { startNatsServer } from "../../infra/nats/server.ts";
import { fakePicture, FakeTilePool } from "../edge/fake_tile_pool.ts";
import { testConfig, until } from "../edge/harness.ts";
import { FakeEngine } from "../support/fake_engine.ts";
import { letters } from "../support/fake_history.ts";
import { ADDED, handmadeTokenizer } from "../worker/handmade_tokenizer.ts";
import { median, printTable } from "./report.ts";

const NUM_CONVERSATIONS = 24;
const NUM_TURNS = 5;
/** Conversations that are held at the same time. */
const CONCURRENCY = 6;
const ROUNDS = 3;
const TILE_SIZE = 28;

interface Tally {
  /** Of turns after the first. */
  readonly cachedShare: number;
  readonly tilesEncoded: number;
  readonly queueMs: number;
}

export async function benchRouting(): Promise<void> {
  const results: Record<"random" | "routed", Tally[]> = { random: [], routed: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const how of ["random", "routed"] as const) results[how].push(await measure(how === "routed", round));
  }
  console.log(
    `${NUM_CONVERSATIONS} conversations of ${NUM_TURNS} turns about a picture of 7 tiles each, two workers\n`,
  );
  printTable(
    ["", "prompt tokens cached after turn 1", "tiles encoded", "queue ms p50"],
    (["random", "routed"] as const).map((how) => {
      const of = (pick: (tally: Tally) => number) => median(results[how].map(pick));
      const share = `${(100 * of(({ cachedShare }) => cachedShare)).toFixed(0)} %`;
      return [how, share, of(({ tilesEncoded }) => tilesEncoded).toFixed(0), of(({ queueMs }) => queueMs).toFixed(1)];
    }),
  );
}

async function measure(isRouted: boolean, round: number): Promise<Tally> {
  const nats = await startNatsServer();
  let tilesEncoded = 0;
  const workers = await Promise.all([0, 1].map(async () => {
    const engine = new FakeEngine({
      choose: letters,
      latency_ms: ({ kind, size }) => {
        if (kind === "encodeTiles") tilesEncoded += size;
        return kind === "encodeTiles" ? size : 2;
      },
      info: {
        tileSize: TILE_SIZE,
        tokensPerTile: 16,
        kvBlockSize: 16,
        numKvBlocks: 4_096,
        contextLength: 2_048,
        algorithms: "off",
        kvCacheBytes: 0,
        stepsInFlight: 1,
        trainedLength: 2_048,
        numTileSlots: 512,
      },
    });
    return await startWorker({
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
        tokensPerTile: 16,
        systemText: "",
        eosIds: new Set([ADDED["<|im_end|>"]]),
        generation: GREEDY,
      },
    }, { maxSequences: 8, tokenBudget: 512, isRouted });
  }));
  const edge = await startEdge({ config: testConfig(nats.url), log: silentLogger, tilePool: new FakeTilePool() });
  try {
    await until(() => edge.deps.directory.workersOf("fake").length === 2);
    let cached = 0;
    let prompt = 0;
    const queued: number[] = [];
    let next = 0;
    const lane = async () => {
      for (let index = next++; index < NUM_CONVERSATIONS; index = next++) {
        const picture = { type: "image_url", image_url: { url: fakePicture(3, 2, round * NUM_CONVERSATIONS + index) } };
        const messages: unknown[] = [];
        for (let turn = 0; turn < NUM_TURNS; turn++) {
          const text = { type: "text", text: `question ${turn} about it` };
          messages.push({ role: "user", content: turn === 0 ? [picture, text] : [text] });
          const response = await fetch(`${edge.url}/v1/chat/completions`, {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ model: "fake", messages, max_tokens: 16 }),
          });
          const { choices, usage, tessera, error } = await response.json();
          if (error !== undefined) throw new Error(error.message);
          messages.push(choices[0].message);
          queued.push(tessera.timings.queue_ms);
          if (turn === 0) continue;
          cached += usage.prompt_tokens_details.cached_tokens;
          prompt += usage.prompt_tokens;
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, lane));
    return { cachedShare: cached / prompt, tilesEncoded, queueMs: median(queued) };
  } finally {
    await edge.close();
    await Promise.all(workers.map((worker) => worker.close()));
    await nats.stop();
  }
}

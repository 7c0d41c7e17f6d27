/** Owns the stage of worker tests: a real nats-server, workers over the fake engine, and what they must answer. */
import assert from "node:assert/strict";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { createLogger, GREEDY, type Job, LIVE_STREAM, liveConsumer } from "@tessera/shared";
import type { ModelFacts } from "../../gpu-worker/config.ts";
import { connectNats } from "../../gpu-worker/intake/connect.ts";
import { type RunningWorker, startWorker, type WorkerLimits } from "../../gpu-worker/mod.ts";
import { buildPrompt } from "../../gpu-worker/prompt/prompt.ts";
import { startNatsServer } from "../../infra/nats/server.ts";
import { FAKE_INFO, FakeEngine, type FakeEngineOptions } from "../support/fake_engine.ts";
import { type ChooseToken, FakeHistory, letters } from "../support/fake_history.ts";
import { FakeEdge, type FakeEdgeOptions, MODEL, type Tile } from "./fake_edge.ts";
import { ADDED, handmadeTokenizer } from "./handmade_tokenizer.ts";

export const FACTS: ModelFacts = {
  name: MODEL,
  created: 1_700_000_000,
  minTiles: 1,
  maxTiles: 12,
  thumbnail: true,
  tileSize: FAKE_INFO.tileSize,
  tokensPerTile: FAKE_INFO.tokensPerTile,
  systemText: "be",
  eosIds: new Set([ADDED["<|im_end|>"]]),
  generation: GREEDY,
};

const MAX_TEST_MS = 30_000;

/** A worker with the ends a test pulls. */
export interface StagedWorker extends RunningWorker {
  readonly nc: NatsConnection;
  readonly engine: FakeEngine;
  /** Cuts its connection as a crash does: nothing is said to anybody. */
  crash(): Promise<void>;
}

export class Stage {
  readonly tokenizer = handmadeTokenizer();
  /** Lines logged by all workers. */
  readonly lines: string[] = [];
  readonly #nats: Awaited<ReturnType<typeof startNatsServer>>;
  readonly #stops: (() => Promise<void>)[] = [];
  #nc: NatsConnection | null = null;

  private constructor(nats: Awaited<ReturnType<typeof startNatsServer>>) {
    this.#nats = nats;
  }

  /** Runs a test on a stage of its own. When it ends well, every worker is found idle and without a leak. */
  static async run(test: (stage: Stage) => Promise<void>): Promise<void> {
    const stage = new Stage(await startNatsServer());
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the test hangs; logged:\n${stage.lines.join("\n")}`)), MAX_TEST_MS);
    });
    try {
      await Promise.race([test(stage), timeout]);
    } finally {
      clearTimeout(timer);
      for (const stop of stage.#stops.reverse()) await stop();
      await stage.#nats.stop();
    }
  }

  get url(): string {
    return this.#nats.url;
  }

  async edge(options: FakeEdgeOptions = {}, url = this.url): Promise<FakeEdge> {
    const edge = await FakeEdge.connect(url, options);
    this.#stops.push(() => edge.close());
    return edge;
  }

  async worker(
    engineOptions: FakeEngineOptions = {},
    limits: Partial<WorkerLimits> = {},
    url = this.url,
  ): Promise<StagedWorker> {
    const nc = await connectNats(url, "worker");
    // As on a GPU; a step at a time is what the scheduler's own tests and those of the CPU's engine have.
    const info = { device: "cuda" as const, stepsInFlight: 2, ...engineOptions.info };
    const engine = new FakeEngine({ choose: letters, ...engineOptions, info });
    const log = createLogger({ level: "debug", format: "text", sink: (line) => this.lines.push(line) });
    const running = await startWorker({ nc, engine, tokenizer: this.tokenizer, facts: FACTS, log }, {
      maxSequences: 4,
      tokenBudget: 16,
      ...limits,
    });
    this.#stops.push(() => running.close());
    return { ...running, nc, engine, crash: () => nc.close() };
  }

  /** Ids of a job's answer when nothing else runs. */
  expectedIds(job: Job, tiles: readonly Tile[] = [], choose: ChooseToken = letters): number[] {
    const prompt = buildPrompt(job, this.tokenizer, FACTS);
    const history = new FakeHistory(FAKE_INFO.vocabSize, choose);
    prompt.tokenIds.forEach((id, position) => {
      const tile = prompt.tileOf[position]!;
      if (tile === -1) history.pushTokens(id);
      else if (prompt.rowOf[position] === 0) {
        history.pushTile(tiles.find(({ hash }) => hash === prompt.tiles[tile])!.pixels, FACTS.tokensPerTile);
      }
    });
    const { temperature, seed, max_tokens } = job.sampling;
    return history.generate(max_tokens!, temperature === 0 ? undefined : BigInt(seed));
  }

  /** Waits until the worker has nothing left, and checks that it leaked nothing. */
  async settle(...workers: StagedWorker[]): Promise<void> {
    for (const worker of workers) {
      await waitUntil(() => worker.isIdle(), "the worker to be idle");
      worker.checkIntegrity();
    }
  }

  /** Jobs in the queue, those a worker has included. */
  async numQueued(): Promise<number> {
    return (await (await this.#manager()).streams.info(LIVE_STREAM)).state.messages;
  }

  /** Jobs handed out and not acknowledged. */
  async numUnacknowledged(): Promise<number> {
    return (await (await this.#manager()).consumers.info(LIVE_STREAM, liveConsumer(MODEL))).num_ack_pending;
  }

  async #manager() {
    if (this.#nc === null) {
      const nc = this.#nc = await connectNats(this.url, "stage");
      this.#stops.push(() => nc.close());
    }
    return await jetstreamManager(this.#nc);
  }
}

export async function waitUntil(holds: () => boolean | Promise<boolean>, what: string, ms = 10_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, `waited too long for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

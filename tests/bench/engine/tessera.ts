/** Our engine as a side: the addon in this process, KV blocks and prompt chunks as the worker's scheduler has them. */
import type { Engine } from "../../../gpu-worker/engine/types.ts";
import { randomTile } from "../../support/counter_random.ts";
import { type DriverSequence, EngineDriver, textPrompt } from "../../support/engine_driver.ts";
import { openNative } from "../../support/native_engine.ts";
import type { BenchDtype } from "./options.ts";
import type { Figures, Scenario, Side } from "./side.ts";

/** Tokens of a prompt in one step: the worker's default budget. */
const CHUNK = 512;
const KV_CACHE_BYTES = 512 * 2 ** 20;

export class TesseraSide implements Side {
  readonly name: string;
  readonly #engine: Engine;
  readonly #driver: EngineDriver;
  readonly #pixels: Uint8Array;
  /** Sequences of a length are kept: filling eight long ones takes a minute. */
  readonly #kept = new Map<number, DriverSequence[]>();

  private constructor(dtype: BenchDtype, engine: Engine) {
    this.name = `Tessera ${dtype}`;
    this.#engine = engine;
    const numBlocks = engine.info.numKvBlocks;
    this.#driver = new EngineDriver(engine, 1, Array.from({ length: numBlocks }, (_, i) => numBlocks - 1 - i));
    this.#pixels = randomTile(1, 0, engine.info.tileSize);
  }

  static async open(
    modelPath: string,
    dtype: BenchDtype,
    numThreads: number,
    headDtype: "auto" | "int8" = "auto",
  ): Promise<TesseraSide> {
    const start = performance.now();
    const engine = await openNative({
      modelPath,
      device: "cpu",
      dtype,
      headDtype,
      numThreads,
      kvCacheBytes: KV_CACHE_BYTES,
      numTileSlots: 16,
    });
    const seconds = (performance.now() - start) / 1000;
    console.log(
      `Tessera ${dtype}: opened in ${seconds.toFixed(1)} s, ${(engine.info.weightBytes / 1e6).toFixed(0)} MB`,
    );
    return new TesseraSide(dtype, engine);
  }

  has(): boolean {
    return true;
  }

  async measure(scenario: Scenario): Promise<Figures> {
    if (scenario.kind === "vision") {
      const ms = await timed(() => this.#engine.encodeTiles(this.#pixels, Int32Array.of(0)));
      return { visionMs: ms };
    }
    const { context, batch, steps } = scenario;
    if (batch > 1) return { decode: await this.#decode(await this.#sequences(context, batch), steps) };
    const sequence = this.#driver.add(prompt(context, 0));
    const ms = await timed(() => this.#driver.prefill(sequence, CHUNK));
    const prefill = context / ms * 1000;
    if (steps === 0) {
      this.#driver.free(sequence);
      return { prefill };
    }
    const decode = await this.#decode([sequence], steps);
    this.#driver.free(sequence);
    return { prefill, decode };
  }

  async #sequences(context: number, batch: number): Promise<DriverSequence[]> {
    const kept = this.#kept.get(context) ?? [];
    this.#kept.set(context, kept);
    while (kept.length < batch) {
      const sequence = this.#driver.add(prompt(context, kept.length));
      await this.#driver.prefill(sequence, CHUNK);
      kept.push(sequence);
    }
    return kept.slice(0, batch);
  }

  async #decode(sequences: readonly DriverSequence[], steps: number): Promise<number> {
    await this.#driver.decode(sequences, 1);
    const ms = await timed(() => this.#driver.decode(sequences, steps));
    return sequences.length * steps / ms * 1000;
  }

  close(): Promise<void> {
    return this.#engine.close();
  }
}

function prompt(length: number, index: number) {
  return textPrompt(Array.from({ length }, (_, i) => (i * 7919 + index * 104_729) % 150_000));
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** An engine that computes nothing, as seen from the event loop: it takes its time elsewhere, and notes when it is called. */
import { setImmediate as immediate, setTimeout as delay } from "node:timers/promises";
import type { Engine, EngineInfo, StepBatch, StepResult } from "../../../gpu-worker/engine/types.ts";
import { FAKE_INFO } from "../../support/fake_engine.ts";
import { clock } from "./clock.ts";

/** The id every step samples. */
const TOKEN = 7;

/** By the machine's clock: when each tile came, and when each step's tokens were there. */
export interface EngineTimes {
  readonly tilesAt: number[];
  readonly sampledAt: number[];
}

export class TimedEngine implements Engine {
  readonly info: EngineInfo;
  times: EngineTimes = { tilesAt: [], sampledAt: [] };
  #stepMs = 0;

  constructor(info: Partial<EngineInfo>) {
    this.info = { ...FAKE_INFO, ...info };
  }

  /** Begins a measurement. */
  begin(stepMs: number): void {
    this.times = { tilesAt: [], sampledAt: [] };
    this.#stepMs = stepMs;
  }

  async encodeTiles(_pixels: Uint8Array, slots: Int32Array): Promise<void> {
    const now = clock();
    for (const _ of slots) this.times.tilesAt.push(now);
    await immediate();
  }

  async step(batch: StepBatch): Promise<StepResult> {
    await (this.#stepMs === 0 ? immediate() : delay(this.#stepMs));
    const numSequences = batch.sample.length;
    const logprobs = new Float32Array(numSequences);
    this.times.sampledAt.push(clock());
    return {
      tokenIds: new Int32Array(numSequences).fill(TOKEN),
      logprobs,
      maxTop: 0,
      topIds: new Int32Array(0),
      topLogprobs: new Float32Array(0),
    };
  }

  logits(): Promise<Float32Array> {
    return Promise.reject(new Error("Cannot compute logits: there is no model"));
  }

  tileEmbeddings(): Promise<Float32Array> {
    return Promise.reject(new Error("Cannot give embeddings: there is no model"));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Owns the fake engine of scheduler tests: no model, but a KV cache whose every misuse changes the tokens or rejects. */
import { setImmediate as immediate, setTimeout as delay } from "node:timers/promises";
import type { Engine, EngineInfo, StepBatch, StepResult } from "../../gpu-worker/engine/types.ts";
import { checkBatch, checkFilled, checkTiles } from "./engine_checks.ts";
import { copyOf, sameBatch, wishesOf } from "./fake_batch.ts";
import {
  chooseAfter,
  type ChooseToken,
  embeddingWord,
  EMPTY_CHAIN,
  fakeLogprob,
  hashChoice,
  mixInto,
  tileHash,
  tokenWord,
  wishesWord,
} from "./fake_history.ts";

/** What a fake call was, for latency and failure hooks; `index` counts calls of that kind from 0. */
export interface FakeCall {
  readonly kind: "encodeTiles" | "step" | "logits" | "tileEmbeddings";
  readonly index: number;
  /** New tokens of a step, tiles of an `encodeTiles`. */
  readonly size: number;
}

/** How a fake engine differs from the default one. */
export interface FakeEngineOptions {
  readonly info?: Partial<EngineInfo>;
  /** How long a call takes. Default 0: the next turn of the event loop. */
  readonly latency_ms?: number | ((call: FakeCall) => number);
  /** A call for which this returns an error fails with it after its latency, leaving what it would have written unusable. */
  readonly fail?: (call: FakeCall) => Error | undefined;
  /** The model: the token after a history. Default: any id, evenly. */
  readonly choose?: ChooseToken;
  /** Sees each batch after its checks, before it runs. */
  readonly onStep?: (batch: StepBatch) => void;
}

/** The default fake's figures: small blocks and few of them, so that tests meet the edges. */
export const FAKE_INFO: EngineInfo = {
  device: "cpu",
  dtype: "fp32",
  isa: "fake",
  numThreads: 1,
  numDevices: 1,
  tileSize: 4,
  tokensPerTile: 3,
  vocabSize: 1009,
  hiddenSize: 8,
  kvBlockSize: 4,
  numKvBlocks: 64,
  numTileSlots: 8,
  algorithms: "off",
  kvCacheBytes: 0,
  stepsInFlight: 1,
  trainedLength: 48,
  contextLength: 128,
  weightBytes: 0,
  weightCache: "off",
};

/**
 * Each KV cell keeps the hash of all inputs up to it. Beyond the contract's own checks a step rejects, as misuse, when a
 * cell it reads was never written, belongs to another position or does not continue the cell before it (a block freed
 * and reused by someone else); and when the batch was changed in flight.
 */
export class FakeEngine implements Engine {
  readonly info: EngineInfo;
  /** Calls that began, by kind. */
  readonly numCalls = { encodeTiles: 0, step: 0, logits: 0, tileEmbeddings: 0 };
  /** Of them, those that found nothing in flight. */
  numFromIdle = 0;
  readonly #options: FakeEngineOptions;
  readonly #choose: ChooseToken;
  /** [numKvBlocks * kvBlockSize] hash of the history up to and with the cell; 0 is unwritten. */
  readonly #chains: Uint32Array;
  /** Hash of the history before the cell, its position, and the step that wrote it. */
  readonly #before: Uint32Array;
  readonly #positions: Int32Array;
  /** What the cell's key was rotated for: the trained length, or that of a longer prompt. */
  readonly #ropes: Int32Array;
  /** [numTileSlots] hash of the pixels; 0 is empty. */
  readonly #slots: Uint32Array;
  /** In the order they run. */
  readonly #inFlight: { readonly kind: FakeCall["kind"]; readonly running: Promise<unknown> }[] = [];
  /** `sample` of the last step that was begun, and the ids of the last one that has run; none where it failed. */
  #drawn = new Uint8Array(0);
  #drawnIds = new Int32Array(0);
  #closed = false;

  constructor(options: FakeEngineOptions = {}) {
    this.info = { ...FAKE_INFO, ...options.info };
    this.#options = options;
    this.#choose = options.choose ?? hashChoice;
    const numCells = this.info.numKvBlocks * this.info.kvBlockSize;
    this.#chains = new Uint32Array(numCells);
    this.#before = new Uint32Array(numCells);
    this.#positions = new Int32Array(numCells).fill(-1);
    this.#ropes = new Int32Array(numCells);
    this.#slots = new Uint32Array(this.info.numTileSlots);
  }

  async encodeTiles(pixels: Uint8Array, slots: Int32Array): Promise<void> {
    this.#refuseIfBusy("encodeTiles");
    checkTiles(this.info, pixels, slots);
    const tileBytes = this.info.tileSize ** 2 * 3;
    await this.#run("encodeTiles", slots.length, (failure) => {
      slots.forEach((slot, i) => {
        this.#slots[slot] = failure ? 0 : tileHash(pixels.subarray(i * tileBytes, (i + 1) * tileBytes));
      });
    });
  }

  async step(batch: StepBatch): Promise<StepResult> {
    return await this.#forward("step", batch, (chains, fed) => {
      const numSequences = batch.sample.length;
      const tokenIds = new Int32Array(numSequences).fill(-1);
      const logprobs = new Float32Array(numSequences);
      for (let s = 0; s < numSequences; s++) {
        if (batch.sample[s] === 0) continue;
        const last = batch.queryStarts[s + 1]! - 1;
        const seed = batch.temperature[s] === 0 ? undefined : batch.seed[s]!;
        const word = wishesWord(wishesOf(batch, s, fed[s] ?? -1));
        const chain = word === undefined ? chains[last]! : mixInto(chains[last]!, word);
        tokenIds[s] = chooseAfter(chain, batch.positions[last]! + 1, this.info.vocabSize, seed, this.#choose);
        logprobs[s] = fakeLogprob(chains[last]!, tokenIds[s]!);
      }
      this.#drawnIds = tokenIds;
      return { tokenIds, logprobs, ...this.#likeliest(batch, chains) };
    });
  }

  async logits(batch: StepBatch): Promise<Float32Array> {
    return await this.#forward("logits", batch, (chains) => {
      const { vocabSize } = this.info;
      const out = new Float32Array(chains.length * vocabSize);
      chains.forEach((chain, t) => {
        for (let id = 0; id < vocabSize; id++) out[t * vocabSize + id] = fakeLogprob(chain, id);
        out[t * vocabSize + this.#choose(chain, batch.positions[t]! + 1, vocabSize)] = 1;
      });
      return out;
    });
  }

  async tileEmbeddings(slots: Int32Array): Promise<Float32Array> {
    this.#refuseIfBusy("tileEmbeddings");
    checkFilled(this.info, slots, (slot) => this.#slots[slot] !== 0);
    const { tokensPerTile, hiddenSize } = this.info;
    return await this.#run("tileEmbeddings", slots.length, () => {
      const size = tokensPerTile * hiddenSize;
      return Float32Array.from({ length: slots.length * size }, (_, i) => this.#slots[slots[Math.floor(i / size)]!]!);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#inFlight.map(({ running }) => running));
  }

  /** The fake's likeliest tokens are those with the lowest ids. */
  #likeliest(batch: StepBatch, chains: Uint32Array): Pick<StepResult, "maxTop" | "topIds" | "topLogprobs"> {
    const maxTop = Math.max(0, ...batch.numTop);
    const topIds = new Int32Array(batch.sample.length * maxTop).fill(-1);
    const topLogprobs = new Float32Array(topIds.length);
    batch.numTop.forEach((numTop, s) => {
      if (batch.sample[s] === 0) return;
      for (let id = 0; id < numTop; id++) {
        topIds[s * maxTop + id] = id;
        topLogprobs[s * maxTop + id] = fakeLogprob(chains[batch.queryStarts[s + 1]! - 1]!, id);
      }
    });
    return { maxTop, topIds, topLogprobs };
  }

  #refuseIfBusy(kind: FakeCall["kind"]): void {
    if (this.#closed) throw new Error("Cannot call the engine: it is closed, expected an open one");
    const count = (of: FakeCall["kind"]) => this.#inFlight.filter((call) => call.kind === of).length;
    const [numSteps, numEncodes] = [count("step"), count("encodeTiles")];
    const { stepsInFlight } = this.info;
    const isInLine = (kind === "step" || kind === "encodeTiles") && stepsInFlight > 1 &&
      numSteps + numEncodes === this.#inFlight.length;
    const hasRoom = kind === "step" ? numSteps < stepsInFlight : numEncodes === 0;
    if (isInLine ? !hasRoom : this.#inFlight.length > 0) {
      throw new Error("Cannot call the engine: a call is in flight, expected one at a time");
    }
  }

  /** Waits for the call before and the latency, then runs `work`, telling it whether the call fails. */
  async #run<T>(kind: FakeCall["kind"], size: number, work: (failure: Error | undefined) => T): Promise<T> {
    const call: FakeCall = { kind, index: this.numCalls[kind]++, size };
    if (this.#inFlight.length === 0) this.numFromIdle += 1;
    const { latency_ms = 0, fail } = this.#options;
    const before = this.#inFlight.at(-1)?.running;
    const running = (async () => {
      await before?.catch(() => {});
      const ms = typeof latency_ms === "number" ? latency_ms : latency_ms(call);
      await (ms === 0 ? immediate() : delay(ms));
      const failure = fail?.(call);
      const result = work(failure);
      if (failure) throw failure;
      return result;
    })();
    const own = { kind, running };
    this.#inFlight.push(own);
    try {
      return await running;
    } finally {
      this.#inFlight.splice(this.#inFlight.indexOf(own), 1);
    }
  }

  /** Writes the KV of a batch; `finish` gets the hash of the history after each new token, and ids that were fed. */
  async #forward<T>(
    kind: "step" | "logits",
    batch: StepBatch,
    finish: (chains: Uint32Array, fed: Int32Array) => T,
  ): Promise<T> {
    this.#refuseIfBusy(kind);
    checkBatch(this.info, batch, kind === "step" ? this.#drawn : undefined);
    this.#checkSlots(batch);
    const isBehind = this.#inFlight.length > 0;
    if (!isBehind) this.#checkHistory(batch);
    this.#options.onStep?.(batch);
    if (kind === "step") this.#drawn = batch.sample.slice();
    const copy = copyOf(batch);
    return await this.#run(kind, batch.tokenIds.length, (failure) => {
      if (!sameBatch(batch, copy)) throw new Error("Cannot step: the batch changed in flight, expected it untouched");
      const fed = batch.idsFrom.map((from) => from === -1 ? -1 : this.#drawnIds[from] ?? -2);
      this.#drawnIds = new Int32Array(0);
      if (fed.includes(-2)) throw new Error("Cannot step: the step before failed, expected its tokens");
      if (isBehind) this.#checkHistory(batch);
      const result = finish(this.#write(batch, fed, failure !== undefined), fed);
      if (failure !== undefined) this.#drawnIds = new Int32Array(0);
      return result;
    });
  }

  #checkSlots(batch: StepBatch): void {
    for (const row of batch.embeddingRows) {
      if (row >= 0 && this.#slots[Math.floor(row / this.info.tokensPerTile)] === 0) {
        throw new Error(`Cannot step: embedding row ${row} of an empty slot, expected an encoded tile`);
      }
    }
  }

  /** Cell of a position of sequence `s`. */
  #cell(batch: StepBatch, s: number, position: number): number {
    const { kvBlockSize } = this.info;
    const block = batch.blockTables[s * batch.maxBlocks + Math.floor(position / kvBlockSize)]!;
    return block * kvBlockSize + position % kvBlockSize;
  }

  #rope(batch: StepBatch, s: number): number {
    return Math.max(this.info.trainedLength, batch.promptLengths[s]!);
  }

  /** Throws unless each sequence's cached cells are one unbroken history. */
  #checkHistory(batch: StepBatch): void {
    for (let s = 0; s < batch.sample.length; s++) {
      let chain = EMPTY_CHAIN;
      for (let position = 0; position < batch.positions[batch.queryStarts[s]!]!; position++) {
        const cell = this.#cell(batch, s, position);
        if (this.#chains[cell] === 0) throw misuse(s, position, "nothing is written there");
        if (this.#positions[cell] !== position) throw misuse(s, position, `it holds position ${this.#positions[cell]}`);
        if (this.#ropes[cell] !== this.#rope(batch, s)) throw misuse(s, position, "it is rotated for another length");
        if (this.#before[cell] !== chain) throw misuse(s, position, "it holds another history");
        chain = this.#chains[cell]!;
      }
    }
  }

  #write(batch: StepBatch, fed: Int32Array, poison: boolean): Uint32Array {
    const { tokensPerTile } = this.info;
    const chains = new Uint32Array(batch.tokenIds.length);
    for (let s = 0; s < batch.sample.length; s++) {
      const start = batch.queryStarts[s]!;
      const first = batch.positions[start]!;
      let chain = first === 0 ? EMPTY_CHAIN : this.#chains[this.#cell(batch, s, first - 1)]!;
      const end = batch.queryStarts[s + 1]!;
      for (let t = start; t < end; t++) {
        const cell = this.#cell(batch, s, batch.positions[t]!);
        const row = batch.embeddingRows[t]!;
        const word = row === -1
          ? tokenWord(t === end - 1 && (fed[s] ?? -1) !== -1 ? fed[s]! : batch.tokenIds[t]!)
          : embeddingWord(this.#slots[Math.floor(row / tokensPerTile)]!, row % tokensPerTile);
        this.#before[cell] = chain;
        this.#ropes[cell] = this.#rope(batch, s);
        chain = mixInto(chain, word);
        this.#chains[cell] = poison ? 0 : chain;
        this.#positions[cell] = batch.positions[t]!;
        chains[t] = chain;
      }
    }
    return chains;
  }
}

function misuse(s: number, position: number, what: string): Error {
  return new Error(`Cannot step: KV of position ${position} of sequence ${s}: ${what}, expected its own history`);
}

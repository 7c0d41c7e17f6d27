/** Owns the reference engine: the Engine contract over reference_model.ts, greedy only, so that goldens are checked without an addon. */
import type { Engine, EngineInfo, StepBatch, StepResult } from "../../gpu-worker/engine/types.ts";
import { type ChatConfig, contextLength, tokensPerTile } from "./checkpoint_config.ts";
import { checkBatch, checkFilled, checkTiles } from "./engine_checks.ts";
import { argmax } from "./engine_driver.ts";
import { type LayerCache, ReferenceModel } from "./reference_model.ts";

/** A model in plain TypeScript with a paged KV cache; slow, and right by being simple. */
export class ReferenceEngine implements Engine {
  readonly info: EngineInfo;
  readonly #model: ReferenceModel;
  /** Embeddings by `slot * tokensPerTile + row`. */
  readonly #embeddings = new Map<number, Float32Array>();
  /** [layer][block * kvBlockSize + offset] key and value. */
  readonly #cells: [Float32Array, Float32Array][][];

  constructor(config: ChatConfig, seed: number) {
    this.#model = new ReferenceModel(config, seed);
    this.#cells = Array.from({ length: config.llm_config.num_hidden_layers }, () => []);
    this.info = {
      device: "cpu",
      dtype: "fp32",
      isa: "reference",
      numThreads: 1,
      numDevices: 1,
      tileSize: config.force_image_size,
      tokensPerTile: tokensPerTile(config),
      vocabSize: config.llm_config.vocab_size,
      hiddenSize: config.llm_config.hidden_size,
      kvBlockSize: 16,
      numKvBlocks: 256,
      numTileSlots: 24,
      algorithms: "off",
      kvCacheBytes: 0,
      stepsInFlight: 1,
      trainedLength: config.llm_config.max_position_embeddings,
      contextLength: contextLength(config),
      weightBytes: 0,
      weightCache: "off",
    };
  }

  // deno-lint-ignore require-await -- the contract is asynchronous, plain arithmetic is not
  async encodeTiles(pixels: Uint8Array, slots: Int32Array): Promise<void> {
    checkTiles(this.info, pixels, slots);
    const tileBytes = pixels.length / slots.length;
    slots.forEach((slot, i) => {
      const rows = this.#model.encodeTile(pixels.subarray(i * tileBytes, (i + 1) * tileBytes));
      rows.forEach((row, r) => this.#embeddings.set(slot * rows.length + r, row));
    });
  }

  // deno-lint-ignore require-await -- as above
  async step(batch: StepBatch): Promise<StepResult> {
    const wanted = Array.from(batch.sample, (flag, s) => flag === 1 ? batch.queryStarts[s + 1]! - 1 : -1);
    const rows = this.#forward(batch, (t) => wanted.includes(t));
    const tokenIds = Int32Array.from(wanted, (t) => t === -1 ? -1 : argmax(rows.get(t)!));
    const logprobs = Float32Array.from(wanted, (t, s) => {
      if (t === -1) return 0;
      const row = rows.get(t)!;
      const top = row[tokenIds[s]!]!;
      return -Math.log(row.reduce((sum, value) => sum + Math.exp(value - top), 0));
    });
    return { tokenIds, logprobs, maxTop: 0, topIds: new Int32Array(0), topLogprobs: new Float32Array(0) };
  }

  // deno-lint-ignore require-await -- as above
  async logits(batch: StepBatch): Promise<Float32Array> {
    const { vocabSize } = this.info;
    const out = new Float32Array(batch.tokenIds.length * vocabSize);
    for (const [t, row] of this.#forward(batch, () => true)) out.set(row, t * vocabSize);
    return out;
  }

  // deno-lint-ignore require-await -- as above
  async tileEmbeddings(slots: Int32Array): Promise<Float32Array> {
    const { tokensPerTile, hiddenSize } = this.info;
    checkFilled(this.info, slots, (slot) => this.#embeddings.has(slot * tokensPerTile));
    const out = new Float32Array(slots.length * tokensPerTile * hiddenSize);
    slots.forEach((slot, i) => {
      for (let row = 0; row < tokensPerTile; row++) {
        out.set(this.#embeddings.get(slot * tokensPerTile + row)!, (i * tokensPerTile + row) * hiddenSize);
      }
    });
    return out;
  }

  async close(): Promise<void> {}

  /** Logits of the tokens that `isWanted`. */
  #forward(batch: StepBatch, isWanted: (t: number) => boolean): Map<number, Float32Array> {
    checkBatch(this.info, batch);
    const out = new Map<number, Float32Array>();
    for (let s = 0; s < batch.sample.length; s++) {
      const caches = this.#cells.map((cells) => this.#cache(cells, batch, s));
      for (let t = batch.queryStarts[s]!; t < batch.queryStarts[s + 1]!; t++) {
        const row = batch.embeddingRows[t]!;
        const input = row === -1 ? this.#model.embedToken(batch.tokenIds[t]!) : this.#embeddings.get(row)!;
        const hidden = this.#model.decode(input, batch.positions[t]!, batch.promptLengths[s]!, caches);
        if (isWanted(t)) out.set(t, this.#model.logits(hidden));
      }
    }
    return out;
  }

  #cache(cells: [Float32Array, Float32Array][], batch: StepBatch, s: number): LayerCache {
    const { kvBlockSize } = this.info;
    const at = (position: number): number => {
      const block = batch.blockTables[s * batch.maxBlocks + Math.floor(position / kvBlockSize)]!;
      return block * kvBlockSize + position % kvBlockSize;
    };
    return {
      key: (position) => cells[at(position)]![0],
      value: (position) => cells[at(position)]![1],
      write: (position, key, value) => cells[at(position)] = [key, value],
    };
  }
}

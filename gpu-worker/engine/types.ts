/** The engine as the worker sees it: what a model backend (CPU, CUDA or the test fake) must offer. */

/** Where the model runs. `auto` is resolved before an engine is opened. */
export type Device = "cpu" | "cuda";

/**
 * Weight storage, as loaded. int8, nf4 and fp4 are those of bitsandbytes (`load_in_8bit`, `load_in_4bit`), fp8 is E4M3
 * and for device cuda alone. These hold the large matrices of tower and decoder; the rest is bf16.
 */
export type Dtype = "bf16" | "fp16" | "fp32" | "int8" | "nf4" | "fp4" | "fp8";

/** How to open an engine. */
export interface EngineOptions {
  /** Folder of a checkpoint: `config.json`, `*.safetensors`. */
  readonly modelPath: string;
  readonly device: Device;
  readonly dtype: Dtype;
  /** Threads of the engine's own pool; 0 lets the engine choose. */
  readonly numThreads: number;
  /** Memory for the paged KV cache, in bytes. Rounded down to whole blocks, at least one sequence of `trainedLength`. */
  readonly kvCacheBytes: number;
  /**
   * On a GPU: the share of its memory, of what is free once all else is in it, that the KV cache takes in place of
   * `kvCacheBytes`, 0 to 1. Default 0: `kvCacheBytes`.
   */
  readonly kvMemoryShare?: number;
  /**
   * The largest step there will be. A GPU takes all memory for it when the engine opens, none later, and refuses larger
   * ones. Default: memory grows with the steps, as on the CPU it does always.
   */
  readonly maxStepTokens?: number;
  readonly maxStepSequences?: number;
  /**
   * Folder in which a GPU keeps which algorithm is the quickest for each of its products, as it was measured. Where it is
   * given, and the largest step too, the engine rehearses its steps as it opens. Absent: neither.
   */
  readonly algorithmCache?: string;
  /** Tiles whose embeddings stay on the device at the same time. */
  readonly numTileSlots: number;
  /**
   * Devices the decoder's layers are split over, the vendor's way (plan/split_layers.ts). Default 1. On the CPU they are
   * virtual, each with its own threads, layers and KV cache; results are the same bits.
   */
  readonly numDevices?: number;
  /**
   * Devices that compute each decoder layer together, each with its heads, its part of the MLP and of the vocabulary.
   * Default 1; not with `numDevices`. Attention heads and MLP columns must divide by it, and so must key heads, or else
   * it be a multiple of them. Tokens are those of one device up to the rounding of sums, which are added in another order.
   */
  readonly tensorParallel?: number;
  /** Of the devices, those with a vision tower, each of which encodes its share of the tiles; 0 (default): all with `tensorParallel`, else one. */
  readonly visionDevices?: number;
  /**
   * Of the output head. `auto` (default): as bitsandbytes leaves it, 16 bits or more. `int8`: weights in int8 with a
   * scale a row, activations in 16 bits, whatever `dtype` is; a decoding step then reads half of it.
   */
  readonly headDtype?: "auto" | "int8";
  /** Where weights are kept as they were packed, so that they are packed once; absent: nowhere. */
  readonly weightCache?: WeightCache;
}

/** A folder of packed weights. Whatever is wrong with it costs time at most. */
export interface WeightCache {
  /** Made where it is missing. */
  readonly folder: string;
  /** Of all files in it, in bytes; what was used longest ago goes first. */
  readonly maxBytes: number;
}

/** What an open engine is; fixed for its lifetime. */
export interface EngineInfo {
  readonly device: Device;
  readonly dtype: Dtype;
  /** Instruction set or GPU chosen at run time, for people: `avx512_bf16`, `avx2`, `portable`, `sm_90`. */
  readonly isa: string;
  /** Threads of each device's pool. */
  readonly numThreads: number;
  readonly numDevices: number;
  /** Tile edge in pixels (square). */
  readonly tileSize: number;
  /** Embeddings one tile becomes. */
  readonly tokensPerTile: number;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** Tokens one KV block holds. */
  readonly kvBlockSize: number;
  readonly numKvBlocks: number;
  /** Of the KV cache, on all devices together. */
  readonly kvCacheBytes: number;
  readonly numTileSlots: number;
  /**
   * Steps that may be in flight at once: more than 1 where one runs while the next is made ready; there an `encodeTiles`
   * may come among them.
   */
  readonly stepsInFlight: number;
  /** Longest sequence the position encoding was trained for (max_position_embeddings). */
  readonly trainedLength: number;
  /**
   * Longest sequence it is stretched to, by dynamic rope scaling; else `trainedLength`. Beyond `trainedLength` keys
   * depend on the length of the prompt: see `promptLengths`.
   */
  readonly contextLength: number;
  readonly weightBytes: number;
  /** What came of `weightCache`, for people: `off`, `read`, `written`, or `rebuilt: why`, `unused: why`. */
  readonly weightCache: string;
  /** What came of `algorithmCache`, for people: `off`, or how many algorithms were kept and measured. */
  readonly algorithms: string;
  /** Why a part of the weights is held otherwise than `dtype` says; absent where all is as asked. */
  readonly dtypeNote?: string;
}

/**
 * One step over S sequences with T new tokens in all. Everything is a typed array, so that a step is one addon
 * crossing. Sequence s owns tokens `queryStarts[s] .. queryStarts[s + 1]`.
 */
export interface StepBatch {
  /** [T] token ids; ignored where `embeddingRows` is not -1. */
  readonly tokenIds: Int32Array;
  /** [T] position of each token in its sequence, 0-based. */
  readonly positions: Int32Array;
  /** [T] -1 for text, else `slot * tokensPerTile + row` in the tile embedding cache. */
  readonly embeddingRows: Int32Array;
  /** [S + 1] prefix sums of new tokens per sequence. */
  readonly queryStarts: Int32Array;
  /** [S * maxBlocks] KV block of each logical block, -1 padded. */
  readonly blockTables: Int32Array;
  /** Row length of `blockTables`. */
  readonly maxBlocks: number;
  /**
   * [S] tokens of each sequence's whole prompt, the same in every step of a sequence, a resumed one included. Blocks may
   * be shared by sequences with prompts of up to `trainedLength` tokens, or of one length.
   */
  readonly promptLengths: Int32Array;
  /** [S] 1 where the last token's logits are wanted and a token is to be sampled, else 0 (a prefill chunk). */
  readonly sample: Uint8Array;
  /** [S] 0 is greedy. */
  readonly temperature: Float32Array;
  /** [S] in (0, 1]; 1 is off. */
  readonly topP: Float32Array;
  /** [S] 0 is off. */
  readonly topK: Int32Array;
  /** [S] a draw depends on (seed, position of the sampled token) alone. */
  readonly seed: BigUint64Array;

  // Any of these may be empty, which is as if every sequence had the value that changes nothing. What they do, and in
  // which order, is written down in native/engine/ops/sampling.h.
  /** [S] tokens of less than this share of the likeliest one's mass are not drawn; 0 is off. */
  readonly minP: Float32Array;
  /** [S] over the tokens of `seenIds`; 1 is off. */
  readonly repetitionPenalty: Float32Array;
  /** [S] once for each token of `seenIds` whose count is not 0; 0 is off. */
  readonly presencePenalty: Float32Array;
  /** [S] times the count; 0 is off. */
  readonly frequencyPenalty: Float32Array;
  /** [S] likeliest tokens to tell beside the sampled one, at most `MAX_TOP`. */
  readonly numTop: Int32Array;
  /** [S + 1] prefix sums of the tokens that penalties are about. */
  readonly seenStarts: Int32Array;
  /** [P] token ids, distinct within a sequence, and how often each is in the answer; 0: in the prompt alone. */
  readonly seenIds: Int32Array;
  readonly seenCounts: Int32Array;
  /** [S + 1] prefix sums of the biased tokens. */
  readonly biasStarts: Int32Array;
  /** [B] token ids, and what is added to their logits; minus infinity forbids a token. */
  readonly biasIds: Int32Array;
  readonly biases: Float32Array;
  /**
   * [S] row in the step before, which may still be in flight, whose sampled token is this sequence's last: `tokenIds`
   * does not tell it then, and penalties count it as one more of the answer, beside `seenIds`. -1: none. May be empty.
   */
  readonly idsFrom: Int32Array;
}

/** Largest `numTop`. */
export const MAX_TOP = 64;

/** Outcome of a step; entries of sequences with `sample` 0 are -1 and 0. */
export interface StepResult {
  /** [S] sampled ids. */
  readonly tokenIds: Int32Array;
  /** [S] log-probability of the sampled id under the unmodified distribution (temperature 1, no cuts). */
  readonly logprobs: Float32Array;
  /** Largest `numTop` of the batch. */
  readonly maxTop: number;
  /** [S * maxTop] likeliest tokens first, -1 padded, and their log-probabilities under the same distribution. */
  readonly topIds: Int32Array;
  readonly topLogprobs: Float32Array;
}

/**
 * A loaded model. Calls are serialised by the caller: at most one is in flight, or `stepsInFlight` steps and, where these are
 * several, one `encodeTiles` among them, all of which run in the order they came. Where a step fails, what those behind it
 * compute is not to be relied on.
 * Arguments are checked before memory is touched; a bad one rejects with an `Error` and changes nothing.
 */
export interface Engine {
  readonly info: EngineInfo;
  /**
   * Runs the vision tower and projector on tiles and keeps the embeddings in slots. Once it has resolved, steps may be given
   * that read them; a device with a line of its own may still be at work then.
   * @param pixels [N * tileSize * tileSize * 3] u8 RGB, row-major, not normalised
   * @param slots [N] slot of each tile, each in [0, numTileSlots), no duplicates
   */
  encodeTiles(pixels: Uint8Array, slots: Int32Array): Promise<void>;
  step(batch: StepBatch): Promise<StepResult>;
  /** Logits of every new token, [T * vocabSize], for tests and tools; writes the KV cache as `step` does. */
  logits(batch: StepBatch): Promise<Float32Array>;
  /** Embeddings in filled slots, [N * tokensPerTile * hiddenSize], for tests and tools. */
  tileEmbeddings(slots: Int32Array): Promise<Float32Array>;
  /** Frees the model. Waits for a call in flight; later calls reject. Idempotent. */
  close(): Promise<void>;
}

/** Owns the layout of a step: chunks of sequences in, the engine's typed arrays out. */
import type { StepBatch } from "../engine/types.ts";
import type { Sequence } from "./sequence.ts";

/** New tokens of one sequence in one step: positions `start .. start + count`. */
export interface Chunk {
  readonly sequence: Sequence;
  readonly start: number;
  readonly count: number;
  /** Whether it reaches the sequence's end, so that a token is sampled. */
  readonly samples: boolean;
}

export function buildBatch(chunks: readonly Chunk[], kvBlockSize: number, tokensPerTile: number): StepBatch {
  const numTokens = chunks.reduce((sum, chunk) => sum + chunk.count, 0);
  const maxBlocks = Math.max(...chunks.map(({ start, count }) => Math.ceil((start + count) / kvBlockSize)));
  const batch = {
    tokenIds: new Int32Array(numTokens),
    positions: new Int32Array(numTokens),
    embeddingRows: new Int32Array(numTokens),
    queryStarts: new Int32Array(chunks.length + 1),
    blockTables: new Int32Array(chunks.length * maxBlocks).fill(-1),
    maxBlocks,
    promptLengths: new Int32Array(chunks.length),
    sample: new Uint8Array(chunks.length),
    temperature: new Float32Array(chunks.length),
    topP: new Float32Array(chunks.length),
    topK: new Int32Array(chunks.length),
    seed: new BigUint64Array(chunks.length),
  };
  let token = 0;
  chunks.forEach(({ sequence, start, count, samples }, s) => {
    for (let position = start; position < start + count; position++) {
      batch.tokenIds[token] = sequence.tokenAt(position);
      batch.positions[token] = position;
      batch.embeddingRows[token] = sequence.embeddingRowAt(position, tokensPerTile);
      token += 1;
    }
    batch.queryStarts[s + 1] = token;
    const numBlocks = Math.ceil((start + count) / kvBlockSize);
    for (let i = 0; i < numBlocks; i++) batch.blockTables[s * maxBlocks + i] = sequence.blocks[i]!;
    batch.promptLengths[s] = sequence.prompt.tokenIds.length;
    batch.sample[s] = samples ? 1 : 0;
    batch.temperature[s] = sequence.sampling.temperature;
    batch.topP[s] = sequence.sampling.topP;
    batch.topK[s] = sequence.sampling.topK;
    batch.seed[s] = sequence.sampling.seed;
  });
  return batch;
}

/** Owns the blocks of sequences: grown as they do, shared where prefixes are equal, given back when they yield or end. */
import type { EngineInfo } from "../engine/types.ts";
import { BlockPool, type CachedBlock, EMPTY_PREFIX } from "./block_pool.ts";
import type { Sequence } from "./sequence.ts";

export class SequenceKv {
  readonly #info: Pick<EngineInfo, "kvBlockSize" | "numKvBlocks" | "trainedLength">;
  readonly #pool: BlockPool;

  constructor(info: Pick<EngineInfo, "kvBlockSize" | "numKvBlocks" | "trainedLength">) {
    this.#info = info;
    this.#pool = new BlockPool(info.numKvBlocks);
  }

  /** Blocks that can still be given out. */
  get numAvailable(): number {
    return this.#pool.numAvailable;
  }

  /** Gives a sequence blocks for its first `numTokens` tokens; false when there are too few, the rest being given. */
  grow(sequence: Sequence, numTokens: number): boolean {
    const { kvBlockSize } = this.#info;
    // All that is known of the sequence, whose prompt may come in parts.
    const numWanted = Math.ceil(Math.max(numTokens, sequence.numTokens) / kvBlockSize);
    while (sequence.blocks.length * kvBlockSize < numTokens) {
      const block = this.#pool.acquire(sequence.blocks.at(-1), numWanted - sequence.blocks.length);
      if (block === null) return false;
      sequence.blocks.push(block);
    }
    return true;
  }

  /** Blocks that would no longer be available if a waiting sequence had all it needs. */
  numNeeded(sequence: Sequence): number {
    const found = this.#findPrefix(sequence);
    const numIdleFound = found.filter(({ block }) => !this.#pool.isHeld(block)).length;
    return Math.ceil(sequence.numTokens / this.#info.kvBlockSize) - found.length + numIdleFound;
  }

  /** Gives a sequence without blocks those whose content it can share. */
  share(sequence: Sequence): void {
    for (const { block, node } of this.#findPrefix(sequence)) {
      this.#pool.retain(block);
      sequence.blocks.push(block);
      sequence.prefix = node;
      sequence.numPublished += 1;
    }
    sequence.numComputed = sequence.numPublished * this.#info.kvBlockSize;
    sequence.numCachedTokens ??= Math.min(sequence.numComputed, sequence.prompt.tokenIds.length);
  }

  /** Makes blocks that are now full findable. */
  publish(sequence: Sequence): void {
    const { kvBlockSize, trainedLength } = this.#info;
    while ((sequence.numPublished + 1) * kvBlockSize <= sequence.numComputed) {
      const block = sequence.blocks[sequence.numPublished]!;
      const content = sequence.contentOf(sequence.numPublished, kvBlockSize, trainedLength);
      sequence.prefix = this.#pool.publish(block, sequence.prefix, content);
      sequence.numPublished += 1;
    }
  }

  /** Gives the blocks back, the last first, so that a prefix outlives what follows it. */
  free(sequence: Sequence): void {
    for (const block of sequence.blocks.reverse()) this.#pool.release(block);
    sequence.blocks.length = 0;
    sequence.blocksEpoch += 1;
    sequence.numComputed = 0;
    sequence.numPublished = 0;
    sequence.prefix = EMPTY_PREFIX;
  }

  /** Forgets all contents; for when what the blocks hold may be damaged. */
  forgetContents(): void {
    this.#pool.forgetContents();
  }

  /** Throws unless every block is held by those of the sequences that list it, and by nobody else. */
  checkIntegrity(sequences: Iterable<Sequence>): void {
    this.#pool.checkIntegrity([...sequences].map(({ blocks }) => blocks));
  }

  /** Full blocks of a sequence's beginning that some block holds already; never all, as one token must be computed. */
  #findPrefix(sequence: Sequence): CachedBlock[] {
    const { kvBlockSize, trainedLength } = this.#info;
    const found: CachedBlock[] = [];
    let parent = EMPTY_PREFIX;
    for (let index = 0; (index + 1) * kvBlockSize < sequence.numTokens; index++) {
      const cached = this.#pool.find(parent, sequence.contentOf(index, kvBlockSize, trainedLength));
      if (cached === undefined) break;
      found.push(cached);
      parent = cached.node;
    }
    return found;
  }
}

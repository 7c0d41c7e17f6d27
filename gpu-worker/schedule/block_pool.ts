/** Owns the KV blocks: who holds each one, and which hold a known prefix that another sequence may share. */
import { FreeRuns } from "./free_runs.ts";

/** Content of a filled block, known by what it holds and what stands before it. 0 is the empty beginning. */
export type PrefixNode = number;
export const EMPTY_PREFIX: PrefixNode = 0;

export interface CachedBlock {
  readonly block: number;
  readonly node: PrefixNode;
}

/**
 * A block is free, held by one or more sequences, or cached: held by nobody, but findable by its content until the
 * space is needed. The cached block that was let go first goes first, and what lies beside it too where it is of the older
 * half: so there are free blocks in a row, and a holder's are consecutive where that can be had.
 */
export class BlockPool {
  readonly numBlocks: number;
  /** [numBlocks] sequences that hold the block. */
  readonly #numHolders: Uint32Array;
  /** Held by nobody, content unknown. */
  readonly #free: FreeRuns;
  /** Held by nobody, content known; oldest first. */
  readonly #cached = new Set<number>();
  /** [numBlocks] when a cached block was let go, in such events. */
  readonly #cachedAt: Float64Array;
  #numCachedEver = 0;
  readonly #byContent = new Map<string, CachedBlock>();
  /** [numBlocks] key in `#byContent`, where the block is the one found there. */
  readonly #contentOf: (string | undefined)[];
  /** Nodes are never reused, so a key that names one can only mean that very content. */
  #nextNode: PrefixNode = EMPTY_PREFIX + 1;

  constructor(numBlocks: number) {
    this.numBlocks = numBlocks;
    this.#numHolders = new Uint32Array(numBlocks);
    this.#cachedAt = new Float64Array(numBlocks);
    this.#contentOf = new Array<string | undefined>(numBlocks).fill(undefined);
    this.#free = new FreeRuns(numBlocks);
  }

  /** Blocks that `acquire` can still give out. */
  get numAvailable(): number {
    return this.#free.count + this.#cached.size;
  }

  isHeld(block: number): boolean {
    return this.#numHolders[block]! > 0;
  }

  /**
   * A block for one holder, content undefined; null when all are held.
   * @param after the holder's last block, where it has one: the one that follows it is best
   * @param wanted blocks that the holder is going to ask for, this one included
   */
  acquire(after: number | undefined, wanted: number): number | null {
    let block: number | null;
    if (after !== undefined && this.#free.takeAfter(after)) block = after + 1;
    else {
      this.#evictFor(wanted);
      block = this.#free.takeStart(wanted, (before) => this.isHeld(before));
    }
    if (block === null) return null;
    this.#numHolders[block] = 1;
    return block;
  }

  /** One more holder of a block found by `find`. */
  retain(block: number): void {
    this.#cached.delete(block);
    this.#numHolders[block]! += 1;
  }

  /** One holder less. */
  release(block: number): void {
    if (!this.isHeld(block)) throw new Error(`Cannot release block ${block}: nobody holds it`);
    this.#numHolders[block]! -= 1;
    if (this.isHeld(block)) return;
    if (this.#contentOf[block] === undefined) this.#free.add(block);
    else {
      this.#cached.add(block);
      this.#cachedAt[block] = this.#numCachedEver++;
    }
  }

  /** The block with this content behind that prefix. */
  find(parent: PrefixNode, content: string): CachedBlock | undefined {
    return this.#byContent.get(`${parent}|${content}`);
  }

  /** Makes a full block findable; where another block has the same content already, that one stays the one found. */
  publish(block: number, parent: PrefixNode, content: string): PrefixNode {
    const key = `${parent}|${content}`;
    const known = this.#byContent.get(key);
    if (known !== undefined) return known.node;
    const node = this.#nextNode++;
    this.#byContent.set(key, { block, node });
    this.#contentOf[block] = key;
    return node;
  }

  /** Forgets all contents; for when what the blocks hold may be damaged. */
  forgetContents(): void {
    for (const block of this.#cached) this.#free.add(block);
    this.#cached.clear();
    this.#byContent.clear();
    this.#contentOf.fill(undefined);
  }

  /** Throws unless every block is free, cached, or held by exactly the holders given. */
  checkIntegrity(holders: Iterable<readonly number[]>): void {
    const expected = new Uint32Array(this.numBlocks);
    for (const blocks of holders) {
      for (const block of blocks) expected[block]! += 1;
    }
    this.#free.checkIntegrity();
    for (let block = 0; block < this.numBlocks; block++) {
      if (this.#numHolders[block] !== expected[block]) {
        throw broken(block, `counts ${this.#numHolders[block]} holders, expected ${expected[block]}`);
      }
      const numPlaces = Number(this.isHeld(block)) + Number(this.#free.has(block)) + Number(this.#cached.has(block));
      if (numPlaces !== 1) throw broken(block, `is ${numPlaces} of held, free and cached`);
    }
    for (const [key, { block }] of this.#byContent) {
      if (this.#contentOf[block] !== key) throw broken(block, "is found under content it does not have");
    }
    for (const block of this.#cached) {
      if (this.#contentOf[block] === undefined) throw broken(block, "is cached without content");
    }
  }

  /** Frees cached blocks until there are `wanted`, the oldest first and with it what is old and lies beside it. */
  #evictFor(wanted: number): void {
    if (this.#free.count >= wanted) return;
    const middle = (this.#cachedAt[this.#oldest()!]! + this.#numCachedEver) / 2;
    const isOld = (block: number) =>
      this.#free.has(block) || this.#cached.has(block) && this.#cachedAt[block]! < middle;
    while (this.#free.count < wanted) {
      const oldest = this.#oldest();
      if (oldest === undefined) return;
      this.#evict(oldest);
      let [first, last] = [oldest, oldest];
      while (last - first + 1 < wanted) {
        if (isOld(last + 1)) this.#evict(++last);
        else if (isOld(first - 1)) this.#evict(--first);
        else break;
      }
    }
  }

  #oldest(): number | undefined {
    const [block] = this.#cached;
    return block;
  }

  #evict(block: number): void {
    if (!this.#cached.delete(block)) return;
    this.#byContent.delete(this.#contentOf[block]!);
    this.#contentOf[block] = undefined;
    this.#free.add(block);
  }
}

function broken(block: number, what: string): Error {
  return new Error(`KV block ${block} ${what}`);
}

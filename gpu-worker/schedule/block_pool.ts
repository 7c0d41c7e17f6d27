/** Owns the KV blocks: who holds each one, and which hold a known prefix that another sequence may share. */

/** Content of a filled block, known by what it holds and what stands before it. 0 is the empty beginning. */
export type PrefixNode = number;
export const EMPTY_PREFIX: PrefixNode = 0;

export interface CachedBlock {
  readonly block: number;
  readonly node: PrefixNode;
}

/**
 * A block is free, held by one or more sequences, or cached: held by nobody, but findable by its content until the
 * space is needed. Cached blocks go in the order in which they were let go.
 */
export class BlockPool {
  readonly numBlocks: number;
  /** [numBlocks] sequences that hold the block. */
  readonly #numHolders: Uint32Array;
  /** Held by nobody, content unknown. */
  readonly #free: number[] = [];
  /** Held by nobody, content known; oldest first. */
  readonly #cached = new Set<number>();
  readonly #byContent = new Map<string, CachedBlock>();
  /** [numBlocks] key in `#byContent`, where the block is the one found there. */
  readonly #contentOf: (string | undefined)[];
  /** Nodes are never reused, so a key that names one can only mean that very content. */
  #nextNode: PrefixNode = EMPTY_PREFIX + 1;

  constructor(numBlocks: number) {
    this.numBlocks = numBlocks;
    this.#numHolders = new Uint32Array(numBlocks);
    this.#contentOf = new Array<string | undefined>(numBlocks).fill(undefined);
    for (let block = numBlocks - 1; block >= 0; block--) this.#free.push(block);
  }

  /** Blocks that `acquire` can still give out. */
  get numAvailable(): number {
    return this.#free.length + this.#cached.size;
  }

  isHeld(block: number): boolean {
    return this.#numHolders[block]! > 0;
  }

  /** A block for one holder, content undefined; null when all are held. */
  acquire(): number | null {
    const block = this.#free.pop() ?? this.#evict();
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
    if (this.#contentOf[block] === undefined) this.#free.push(block);
    else this.#cached.add(block);
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
    for (const block of this.#cached) this.#free.push(block);
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
    const seen = new Set<number>();
    for (const block of [...this.#free, ...this.#cached]) {
      if (seen.has(block)) throw broken(block, "is free twice");
      seen.add(block);
    }
    for (let block = 0; block < this.numBlocks; block++) {
      if (this.#numHolders[block] !== expected[block]) {
        throw broken(block, `counts ${this.#numHolders[block]} holders, expected ${expected[block]}`);
      }
      if (seen.has(block) === this.isHeld(block)) throw broken(block, "is both held and free, or neither");
    }
    for (const [key, { block }] of this.#byContent) {
      if (this.#contentOf[block] !== key) throw broken(block, "is found under content it does not have");
    }
    for (const block of this.#cached) {
      if (this.#contentOf[block] === undefined) throw broken(block, "is cached without content");
    }
  }

  #evict(): number | null {
    const [block] = this.#cached;
    if (block === undefined) return null;
    this.#cached.delete(block);
    this.#byContent.delete(this.#contentOf[block]!);
    this.#contentOf[block] = undefined;
    return block;
  }
}

function broken(block: number, what: string): Error {
  return new Error(`KV block ${block} ${what}`);
}

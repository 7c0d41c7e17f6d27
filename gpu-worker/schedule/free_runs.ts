/** Owns which blocks are free, as runs of consecutive numbers: a device reads a run as one stream. */

/** Runs are found by size: class c holds those of 2^c to 2^(c+1) - 1 blocks. */
const NUM_CLASSES = 32;

export class FreeRuns {
  /** [numBlocks] 1: free. */
  readonly #isFree: Uint8Array;
  /** [numBlocks] length of a run, at its first and at its last block. */
  readonly #length: Int32Array;
  /** First blocks of runs. */
  readonly #classes = Array.from({ length: NUM_CLASSES }, () => new Set<number>());
  #count = 0;

  /** All of `numBlocks` are free. */
  constructor(numBlocks: number) {
    this.#isFree = new Uint8Array(numBlocks).fill(1);
    this.#length = new Int32Array(numBlocks);
    this.#count = numBlocks;
    if (numBlocks > 0) this.#enter(0, numBlocks);
  }

  get count(): number {
    return this.#count;
  }

  has(block: number): boolean {
    return this.#isFree[block] === 1;
  }

  add(block: number): void {
    if (this.has(block)) throw new Error(`Cannot free block ${block}: it is free, expected it in use`);
    let first = block;
    let length = 1;
    if (this.has(block - 1)) {
      const before = this.#length[block - 1]!;
      first = block - before;
      length += before;
      this.#leave(first);
    }
    if (this.has(block + 1)) {
      length += this.#length[block + 1]!;
      this.#leave(block + 1);
    }
    this.#isFree[block] = 1;
    this.#count += 1;
    this.#enter(first, length);
  }

  /** Takes the block that follows `block`, which is in use; false where it is not free. */
  takeAfter(block: number): boolean {
    if (!this.has(block + 1)) return false;
    this.#take(block + 1, block + 1);
    return true;
  }

  /**
   * Takes a block after which more are free, as many as `wanted` where there is such a run; null where none is free.
   * Where the one before the run `mayGrow`, up to half of the run is left to it.
   */
  takeStart(wanted: number, mayGrow: (block: number) => boolean): number | null {
    const first = this.#longest();
    if (first === null) return null;
    const length = this.#length[first]!;
    const room = first > 0 && mayGrow(first - 1) ? Math.min(Math.floor(length / 2), length - wanted) : 0;
    const block = first + Math.max(0, room);
    this.#take(first, block);
    return block;
  }

  /** Throws unless runs are as long as can be and hold each free block once. */
  checkIntegrity(): void {
    let count = 0;
    for (const [index, starts] of this.#classes.entries()) {
      for (const first of starts) {
        const length = this.#length[first]!;
        const last = first + length - 1;
        const isWhole = !this.has(first - 1) && !this.has(last + 1) && this.#length[last] === length;
        if (!isWhole || classOf(length) !== index) throw new Error(`Run of free blocks ${first} to ${last} is broken`);
        for (let block = first; block <= last; block++) {
          if (!this.has(block)) throw new Error(`KV block ${block} is in a run of free ones, and in use`);
        }
        count += length;
      }
    }
    const numFree = this.#isFree.reduce((sum, isFree) => sum + isFree, 0);
    if (count !== this.#count || numFree !== count) {
      throw new Error(`Free KV blocks: ${this.#count} counted, ${numFree} marked, ${count} in runs`);
    }
  }

  /** First block of a run of the largest class. */
  #longest(): number | null {
    for (let index = NUM_CLASSES - 1; index >= 0; index--) {
      for (const first of this.#classes[index]!) return first;
    }
    return null;
  }

  /** Takes `block` out of the run that begins at `first`. */
  #take(first: number, block: number): void {
    const end = first + this.#length[first]!;
    this.#leave(first);
    this.#isFree[block] = 0;
    this.#count -= 1;
    if (block > first) this.#enter(first, block - first);
    if (block + 1 < end) this.#enter(block + 1, end - block - 1);
  }

  #enter(first: number, length: number): void {
    this.#length[first] = length;
    this.#length[first + length - 1] = length;
    this.#classes[classOf(length)]!.add(first);
  }

  #leave(first: number): void {
    this.#classes[classOf(this.#length[first]!)]!.delete(first);
  }
}

function classOf(length: number): number {
  return 31 - Math.clz32(length);
}

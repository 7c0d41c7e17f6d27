/** Byte-pair merging: the adjacent pair of the best rank, leftmost first, until none is left. O(n log n), in slices. */
import type { Sliced } from "./slices.ts";

/** Heap operations between two places to rest; about a millisecond. */
const OPS_PER_STEP = 4_096;
/** Up to this many symbols the best pair is looked for by walking over them. */
const SHORT = 24;

/** For a pair of symbols, what they become and how early. Open addressing over typed arrays: 150,000 merges take 8 MB. */
export class MergeTable {
  #size = 0;
  #mask: number;
  #lefts: Int32Array;
  #rights: Int32Array;
  #ranks: Int32Array;
  #merged: Int32Array;

  constructor(expected: number) {
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(16, expected * 2)));
    this.#mask = capacity - 1;
    this.#lefts = new Int32Array(capacity).fill(-1);
    this.#rights = new Int32Array(capacity);
    this.#ranks = new Int32Array(capacity);
    this.#merged = new Int32Array(capacity);
  }

  /** Lower ranks merge first. A pair that is there already keeps its better rank. */
  add(left: number, right: number, rank: number, merged: number): void {
    if ((this.#size + 1) * 2 > this.#lefts.length) this.#grow();
    const slot = this.#slotOf(left, right);
    if (this.#lefts[slot] === -1) this.#size++;
    else if (this.#ranks[slot]! <= rank) return;
    this.#lefts[slot] = left;
    this.#rights[slot] = right;
    this.#ranks[slot] = rank;
    this.#merged[slot] = merged;
  }

  /** Slot of a pair, -1 when it does not merge. */
  find(left: number, right: number): number {
    const slot = this.#slotOf(left, right);
    return this.#lefts[slot] === -1 ? -1 : slot;
  }

  rank(slot: number): number {
    return this.#ranks[slot]!;
  }

  merged(slot: number): number {
    return this.#merged[slot]!;
  }

  #slotOf(left: number, right: number): number {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca77)) >>> 0;
    slot = (slot ^ (slot >>> 15)) & this.#mask;
    while (this.#lefts[slot] !== -1 && (this.#lefts[slot] !== left || this.#rights[slot] !== right)) {
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }

  #grow(): void {
    const bigger = new MergeTable(this.#lefts.length);
    for (let slot = 0; slot < this.#lefts.length; slot++) {
      if (this.#lefts[slot] !== -1) {
        bigger.add(this.#lefts[slot]!, this.#rights[slot]!, this.#ranks[slot]!, this.#merged[slot]!);
      }
    }
    this.#mask = bigger.#mask;
    this.#lefts = bigger.#lefts;
    this.#rights = bigger.#rights;
    this.#ranks = bigger.#ranks;
    this.#merged = bigger.#merged;
  }
}

/**
 * Merges symbols in place.
 * @param symbols [n] ids
 * @returns how many are left, at the beginning of `symbols`
 */
export function* mergePairs(symbols: Int32Array, table: MergeTable): Sliced<number> {
  return symbols.length <= SHORT ? mergeShort(symbols, table) : yield* mergeLong(symbols, table);
}

function mergeShort(symbols: Int32Array, table: MergeTable): number {
  let length = symbols.length;
  while (length > 1) {
    let best = -1, at = -1;
    for (let i = 0; i + 1 < length; i++) {
      const slot = table.find(symbols[i]!, symbols[i + 1]!);
      if (slot !== -1 && (best === -1 || table.rank(slot) < table.rank(best))) [best, at] = [slot, i];
    }
    if (best === -1) break;
    symbols[at] = table.merged(best);
    symbols.copyWithin(at + 1, at + 2, length);
    length--;
  }
  return length;
}

function* mergeLong(symbols: Int32Array, table: MergeTable): Sliced<number> {
  const n = symbols.length;
  /** Neighbours by position; a symbol stays at its leftmost position, one that was taken in is -1. */
  const next = new Int32Array(n);
  const before = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    next[i] = i + 1;
    before[i] = i - 1;
  }
  const heap = new PairHeap(n);
  let numOps = 0;
  const push = (at: number) => {
    if (at < 0 || next[at]! >= n) return;
    const slot = table.find(symbols[at]!, symbols[next[at]!]!);
    if (slot !== -1) heap.push(table.rank(slot), at, table.merged(slot));
  };
  for (let i = 0; i < n; i++) {
    push(i);
    if (++numOps % OPS_PER_STEP === 0) yield;
  }
  while (heap.pop()) {
    if (++numOps % OPS_PER_STEP === 0) yield;
    const at = heap.at;
    const right = next[at]!;
    if (symbols[at] === -1 || right >= n) continue;
    // What stood here when the pair was queued may have merged otherwise since.
    const slot = table.find(symbols[at]!, symbols[right]!);
    if (slot === -1 || table.merged(slot) !== heap.merged) continue;
    symbols[at] = heap.merged;
    symbols[right] = -1;
    next[at] = next[right]!;
    if (next[at]! < n) before[next[at]!] = at;
    push(before[at]!);
    push(at);
  }
  let length = 0;
  for (let at = 0; at < n; at = next[at]!) symbols[length++] = symbols[at]!;
  return length;
}

/** A binary heap of pairs by rank, then position. */
class PairHeap {
  #keys: Float64Array;
  #values: Int32Array;
  #size = 0;
  /** The pair popped last. */
  at = 0;
  merged = 0;

  constructor(capacity: number) {
    this.#keys = new Float64Array(capacity);
    this.#values = new Int32Array(capacity);
  }

  push(rank: number, at: number, merged: number): void {
    if (this.#size === this.#keys.length) this.#grow();
    const keys = this.#keys, values = this.#values;
    const key = rank * 2 ** 26 + at;
    let i = this.#size++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (keys[parent]! <= key) break;
      keys[i] = keys[parent]!;
      values[i] = values[parent]!;
      i = parent;
    }
    keys[i] = key;
    values[i] = merged;
  }

  /** Takes out the first into `at` and `merged`; false when there is none. */
  pop(): boolean {
    if (this.#size === 0) return false;
    const keys = this.#keys, values = this.#values;
    this.at = keys[0]! % 2 ** 26;
    this.merged = values[0]!;
    const size = --this.#size;
    const key = keys[size]!, value = values[size]!;
    let i = 0;
    for (let child = 1; child < size; child = 2 * i + 1) {
      if (child + 1 < size && keys[child + 1]! < keys[child]!) child++;
      if (keys[child]! >= key) break;
      keys[i] = keys[child]!;
      values[i] = values[child]!;
      i = child;
    }
    keys[i] = key;
    values[i] = value;
    return true;
  }

  #grow(): void {
    const keys = new Float64Array(this.#keys.length * 2 + 16);
    const values = new Int32Array(keys.length);
    keys.set(this.#keys);
    values.set(this.#values);
    this.#keys = keys;
    this.#values = values;
  }
}

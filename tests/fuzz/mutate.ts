/** Damaged files for the tiler: real pictures with bytes changed in the ways that decoders stumble over. From a seed. */

/** Random numbers that are the same everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) >>> 0;
  }

  /** 0 to n - 1. */
  below(n: number): number {
    // xorshift, 32 bits.
    let x = this.#state || 1;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % n;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** Values that lengths and sizes go wrong with. */
const ODD_BYTES = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff];
const MAX_EDITS = 8;

type Edit = (bytes: Uint8Array, random: Random, corpus: readonly Uint8Array[]) => Uint8Array;

const flipBit: Edit = (bytes, random) => {
  bytes[place(bytes, random)]! ^= 1 << random.below(8);
  return bytes;
};

const setByte: Edit = (bytes, random) => {
  bytes[place(bytes, random)] = random.below(2) === 0 ? random.pick(ODD_BYTES) : random.below(256);
  return bytes;
};

/** Two or four bytes: a length, a size, an offset. */
const setNumber: Edit = (bytes, random) => {
  const at = place(bytes, random);
  const value = random.pick(ODD_BYTES);
  for (let i = at; i < Math.min(at + 2 + 2 * random.below(2), bytes.length); i++) bytes[i] = value;
  return bytes;
};

const cut: Edit = (bytes, random) => bytes.slice(0, 1 + place(bytes, random));

const drop: Edit = (bytes, random) => {
  const at = place(bytes, random);
  return concat(bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(64)));
};

const repeat: Edit = (bytes, random) => {
  const at = place(bytes, random);
  const piece = bytes.subarray(at, at + 1 + random.below(200));
  return concat(bytes.subarray(0, at), piece, bytes.subarray(at));
};

const insert: Edit = (bytes, random) => {
  const at = place(bytes, random);
  const noise = Uint8Array.from({ length: 1 + random.below(16) }, () => random.below(256));
  return concat(bytes.subarray(0, at), noise, bytes.subarray(at));
};

/** The beginning of one picture, the rest of another. */
const splice: Edit = (bytes, random, corpus) => {
  const other = random.pick(corpus);
  return concat(bytes.subarray(0, place(bytes, random)), other.subarray(random.below(other.length)));
};

const EDITS: readonly Edit[] = [flipBit, flipBit, setByte, setByte, setNumber, cut, drop, repeat, insert, splice];

/** One damaged file. */
export function mutated(corpus: readonly Uint8Array[], random: Random): Uint8Array<ArrayBuffer> {
  let bytes: Uint8Array = random.pick(corpus).slice();
  const numEdits = 1 + random.below(MAX_EDITS);
  for (let i = 0; i < numEdits && bytes.length > 0; i++) bytes = random.pick(EDITS)(bytes, random, corpus);
  return new Uint8Array(bytes);
}

/** Half of all edits hit the first 200 bytes, where the headers are. */
function place(bytes: Uint8Array, random: Random): number {
  return random.below(random.below(2) === 0 ? Math.min(200, bytes.length) : bytes.length);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

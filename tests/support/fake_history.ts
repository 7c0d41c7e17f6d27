/** Owns the fake engine's idea of a language model: every next token is a hash of all inputs before it. */

/** Mixes a word into a running hash (murmur3 with its finaliser); never 0, which stands for "nothing written". */
export function mixInto(chain: number, word: number): number {
  let h = Math.imul(chain ^ Math.imul(word, 0xcc9e2d51), 0x1b873593) + 0xe6546b64;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) || 1;
}

/** The history before the first input. */
export const EMPTY_CHAIN = 0x7e55e7a;

/** Input word of a text token. */
export function tokenWord(tokenId: number): number {
  return mixInto(1, tokenId);
}

/** Hash of a tile's pixels: what a slot holds. */
export function tileHash(pixels: Uint8Array): number {
  let h = 2;
  for (const byte of pixels) h = Math.imul(h ^ byte, 0x01000193);
  return mixInto(h >>> 0, pixels.length);
}

/** Input word of one embedding row of a tile. */
export function embeddingWord(tile: number, row: number): number {
  return mixInto(tile, row + 1);
}

/** How a fake model picks the token after a history. */
export type ChooseToken = (chain: number, position: number, vocabSize: number) => number;

/** The default choice: any id, evenly. */
export const hashChoice: ChooseToken = (chain, _position, vocabSize) => mixInto(chain, 3) % vocabSize;

/** Speaks lower-case letters of a byte-level tokenizer and never stops by itself. */
export const letters: ChooseToken = (chain) => 97 + mixInto(chain, 3) % 26;

/** Log-probability the fake reports for a token after a history, in (-2, 0]. */
export function fakeLogprob(chain: number, tokenId: number): number {
  return Math.fround(-(mixInto(chain, tokenId) % 1000) / 500);
}

/** What the fake does with penalties and biases: it mixes them in, so that any that is wrong changes the token. */
export interface FakeWishes {
  /** minP and the three penalties. */
  readonly numbers: readonly number[];
  /** Ids with their counts or biases, in any order. */
  readonly seen: Iterable<readonly [id: number, count: number]>;
  readonly biases: Iterable<readonly [id: number, bias: number]>;
}

/** One word for all of them; undefined where they change nothing. */
export function wishesWord({ numbers, seen, biases }: FakeWishes): number | undefined {
  let [word, isPlain] = [7, true];
  const add = (salt: number, id: number, value: number) => {
    isPlain = false;
    word = word + mixInto(mixInto(salt, id), Number.isFinite(value) ? Math.round(value * 1_000) : 0x7fffffff) | 0;
  };
  numbers.forEach((value, i) => {
    if (value !== (i === 1 ? 1 : 0)) add(11, i, value);
  });
  for (const [id, count] of seen) add(12, id, count);
  for (const [id, bias] of biases) add(13, id, bias);
  return isPlain ? undefined : word >>> 0;
}

/** A history outside any engine: the oracle that tests compare an engine's tokens with. */
export class FakeHistory {
  #chain = EMPTY_CHAIN;
  #length = 0;

  constructor(readonly vocabSize: number, readonly choose: ChooseToken = hashChoice) {}

  /** Inputs so far; the position the next input gets. */
  get length(): number {
    return this.#length;
  }

  pushTokens(...tokenIds: number[]): this {
    for (const id of tokenIds) this.#push(tokenWord(id));
    return this;
  }

  /** Appends all embeddings of a tile. */
  pushTile(pixels: Uint8Array, tokensPerTile: number): this {
    const tile = tileHash(pixels);
    for (let row = 0; row < tokensPerTile; row++) this.#push(embeddingWord(tile, row));
    return this;
  }

  /** The token that follows: greedy, or the draw of a seed. */
  next(seed?: bigint, wishes?: FakeWishes): number {
    const word = wishes === undefined ? undefined : wishesWord(wishes);
    const chain = word === undefined ? this.#chain : mixInto(this.#chain, word);
    return chooseAfter(chain, this.#length, this.vocabSize, seed, this.choose);
  }

  /** The next `count` tokens, each appended. */
  generate(count: number, seed?: bigint): number[] {
    return Array.from({ length: count }, () => {
      const id = this.next(seed);
      this.pushTokens(id);
      return id;
    });
  }

  #push(word: number): void {
    this.#chain = mixInto(this.#chain, word);
    this.#length += 1;
  }
}

/** The token at `position`, after the inputs hashed in `chain`; a seed (temperature > 0) changes the draw. */
export function chooseAfter(
  chain: number,
  position: number,
  vocabSize: number,
  seed: bigint | undefined,
  choose: ChooseToken,
): number {
  if (seed === undefined) return choose(chain, position, vocabSize);
  const low = Number(seed & 0xffffffffn);
  const high = Number(seed >> 32n & 0xffffffffn);
  return choose(mixInto(mixInto(mixInto(chain, low), high), position), position, vocabSize);
}

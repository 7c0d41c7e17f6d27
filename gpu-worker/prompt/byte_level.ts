/** Owns byte-level BPE as Qwen2 has it: text composed (NFC), cut by a pattern, bytes merged within each word. */
import { mergePairs, MergeTable } from "./byte_pairs.ts";
import { append, ITEMS_PER_STEP, type Sliced } from "./slices.ts";
import type { Vocabulary } from "./vocabulary.ts";
import { WordCache } from "./word_cache.ts";

const BYTE_OF = new Map<string, number>();
{
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    BYTE_OF.set(String.fromCharCode(isPrintable ? byte : next++), byte);
  }
}

/** The characters bytes are written as in vocab.json and merges.txt, in order of the byte they stand for. */
export const BYTE_ALPHABET: readonly string[] = [...BYTE_OF].sort((a, b) => a[1] - b[1]).map(([char]) => char);

/** How Qwen2's tokenizer cuts text before merging. */
export const QWEN2_SPLIT =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" +
  "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Words between two places to rest. */
const WORDS_PER_STEP = 512;

const encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);

/** Two tokens, or both in a text with a space between. */
export type Merge = string | readonly [left: string, right: string];

export interface ByteLevelOptions {
  readonly vocab: ReadonlyMap<string, number>;
  /** Best first. */
  readonly merges: readonly Merge[];
  /** Pattern whose matches, and what is between them, are words; JavaScript's syntax but for `\s` and `\S`. */
  readonly split: string;
  readonly composes: boolean;
  /** Words that are a token are taken as they are. */
  readonly ignoresMerges: boolean;
}

export class ByteLevelVocabulary implements Vocabulary {
  readonly #options: ByteLevelOptions;
  readonly #split: RegExp;
  readonly #merges: MergeTable;
  /** [256] */
  readonly #idOfByte: Int32Array;
  readonly #tokens: string[] = [];
  readonly #cache = new WordCache();

  /** @throws Error when the vocabulary lacks a byte, or the part or outcome of a merge */
  constructor(options: ByteLevelOptions) {
    const { vocab, merges } = this.#options = options;
    this.#split = new RegExp(unicodeSpaces(options.split), "gu");
    for (const [token, id] of vocab) this.#tokens[id] = token;
    const idOf = (token: string, what: string) => {
      const id = vocab.get(token);
      if (id === undefined) throw new Error(`Cannot read vocabulary: ${what} "${token}" is missing`);
      return id;
    };
    this.#idOfByte = Int32Array.from(BYTE_ALPHABET, (char, byte) => idOf(char, `byte ${byte} as`));
    this.#merges = new MergeTable(merges.length);
    for (let rank = 0; rank < merges.length; rank++) {
      const [left, right] = partsOf(merges[rank]!);
      const merged = this.#idOfMerged(rank, left, right) ?? idOf(left + right, "merged token");
      this.#merges.add(idOf(left, "merge part"), idOf(right, "merge part"), rank, merged);
    }
  }

  /** Tokens mostly stand in the order of their merges: to compare is quicker than to join and look up. */
  #idOfMerged(rank: number, left: string, right: string): number | undefined {
    const id = BYTE_ALPHABET.length + rank;
    const token = this.#tokens[id];
    const isIt = token?.length === left.length + right.length && token.startsWith(left) && token.endsWith(right);
    return isIt ? id : undefined;
  }

  get size(): number {
    return this.#tokens.length;
  }

  *encode(text: string, ids: number[], maxIds: number): Sliced<void> {
    const source = this.#options.composes ? text.normalize("NFC") : text;
    let start = 0;
    let numWords = 0;
    while (start < source.length && ids.length <= maxIds) {
      this.#split.lastIndex = start;
      const match = this.#split.exec(source);
      // What no alternative matches is a word too.
      const end = match === null ? source.length : match.index > start ? match.index : start + match[0].length;
      yield* this.#encodeWord(source.slice(start, end), ids);
      start = end;
      if (++numWords % WORDS_PER_STEP === 0) yield;
    }
  }

  bytesOf(id: number): Uint8Array {
    const token = this.#tokens[id];
    return token === undefined ? NOTHING : bytesOfToken(token);
  }

  *#encodeWord(word: string, ids: number[]): Sliced<void> {
    const known = this.#cache.get(word);
    if (known !== undefined) return yield* append(ids, known);
    const bytes = encoder.encode(word);
    if (this.#options.ignoresMerges) {
      const whole = this.#wholeId(bytes);
      if (whole !== undefined) return void ids.push(whole);
    }
    const symbols = new Int32Array(bytes.length);
    for (let i = 0; i < bytes.length; i++) {
      symbols[i] = this.#idOfByte[bytes[i]!]!;
      if ((i + 1) % ITEMS_PER_STEP === 0) yield;
    }
    const length = yield* mergePairs(symbols, this.#merges);
    yield* append(ids, symbols.subarray(0, length));
    if (WordCache.takes(word)) this.#cache.set(word, [...symbols.subarray(0, length)]);
  }

  #wholeId(bytes: Uint8Array): number | undefined {
    let token = "";
    for (const byte of bytes) token += BYTE_ALPHABET[byte];
    return this.#options.vocab.get(token);
  }
}

function partsOf(merge: Merge): readonly [string, string] {
  if (typeof merge !== "string") return merge;
  const at = merge.indexOf(" ", 1);
  return [merge.slice(0, at), merge.slice(at + 1)];
}

/** Bytes a vocabulary entry stands for. A character outside the alphabet stands for its own UTF-8. */
export function bytesOfToken(token: string): Uint8Array {
  const bytes: number[] = [];
  for (const char of token) {
    const byte = BYTE_OF.get(char);
    if (byte === undefined) bytes.push(...encoder.encode(char));
    else bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

/** The tokenizers' `\s` is Unicode's White_Space: with U+0085, without U+FEFF, other than JavaScript's. */
function unicodeSpaces(pattern: string): string {
  return pattern.replace(
    /\\[\s\S]/g,
    (escape) => escape === "\\s" ? "\\p{White_Space}" : escape === "\\S" ? "\\P{White_Space}" : escape,
  );
}

/** Owns SentencePiece BPE as InternLM3 has it: characters merged by score, bytes where there is no piece. */
import { mergePairs, MergeTable } from "./byte_pairs.ts";
import type { Piece, SentencePieceFile } from "./sentencepiece_file.ts";
import { SentencePieceNormalizer, SPACE } from "./sentencepiece_normalizer.ts";
import { ITEMS_PER_STEP, type Sliced } from "./slices.ts";
import type { Vocabulary } from "./vocabulary.ts";
import { WordCache } from "./word_cache.ts";

/** Symbols from here on are characters without a piece of their own: this plus the code point. */
const NO_PIECE = 0x4000000;
/** Words between two places to rest. */
const WORDS_PER_STEP = 512;
const NOTHING = new Uint8Array(0);

const encoder = new TextEncoder();

export class SentencePieceVocabulary implements Vocabulary {
  readonly #file: SentencePieceFile;
  readonly #normalizer: SentencePieceNormalizer;
  /** Of pieces that text can become. */
  readonly #idOf = new Map<string, number>();
  readonly #idOfByte = new Map<number, number>();
  readonly #merges: MergeTable;
  /** User-defined pieces, longest first: found as they are, never merged. */
  readonly #fixed: RegExp | null;
  /** Whether no piece has a space behind something else, so that no merge goes across the beginning of a word. */
  readonly #splitsAtSpace: boolean;
  readonly #unknownId: number;
  readonly #cache = new WordCache();

  /**
   * @param hidden user-defined pieces that text must not become: control tokens
   * @throws Error when the model is of a kind not supported here
   */
  constructor(file: SentencePieceFile, hidden: ReadonlySet<string>) {
    this.#file = file;
    checkSupported(file);
    const fixed: string[] = [];
    let unknownId = 0;
    file.pieces.forEach(({ piece, type }, id) => {
      if (type === "normal" || (type === "user_defined" && !hidden.has(piece))) this.#idOf.set(piece, id);
      if (type === "user_defined" && !hidden.has(piece)) fixed.push(piece);
      if (type === "byte") this.#idOfByte.set(parseInt(piece.slice(3, 5), 16), id);
      if (type === "unknown") unknownId = id;
    });
    if (file.byteFallback && this.#idOfByte.size !== 256) {
      throw new Error(`Cannot read SentencePiece model: ${this.#idOfByte.size} byte pieces, expected 256`);
    }
    this.#unknownId = unknownId;
    this.#normalizer = new SentencePieceNormalizer(file.normalizer, fixed);
    fixed.sort((a, b) => b.length - a.length);
    this.#fixed = fixed.length === 0 ? null : new RegExp(fixed.map(RegExp.escape).join("|"), "gu");
    this.#splitsAtSpace = ![...this.#idOf.keys()].some((piece) => /[^\u2581]\u2581/u.test(piece));
    this.#merges = this.#tellMerges(file.pieces);
  }

  get size(): number {
    return this.#file.pieces.length;
  }

  *encode(text: string, ids: number[], maxIds: number): Sliced<void> {
    const normalized = yield* this.#normalizer.normalize(text);
    let numWords = 0;
    for (const { word, isFixed } of this.#words(normalized)) {
      if (ids.length > maxIds) return;
      if (isFixed) ids.push(this.#idOf.get(word)!);
      else yield* this.#encodeWord(word, ids);
      if (++numWords % WORDS_PER_STEP === 0) yield;
    }
  }

  bytesOf(id: number, isStart: boolean): Uint8Array {
    const entry = this.#file.pieces[id];
    if (entry === undefined || entry.type === "control") return NOTHING;
    if (entry.type === "byte") return Uint8Array.of(parseInt(entry.piece.slice(3, 5), 16));
    if (entry.type === "unknown") return encoder.encode(this.#file.unknownSurface);
    const { addsDummyPrefix, removesExtraSpaces } = this.#file.normalizer;
    let piece = entry.piece;
    if (isStart && removesExtraSpaces) piece = piece.replace(/^\u2581+/, "");
    else if (isStart && addsDummyPrefix && piece.startsWith(SPACE)) piece = piece.slice(SPACE.length);
    return encoder.encode(piece.replaceAll(SPACE, " "));
  }

  /** Stretches that merge within themselves. */
  *#words(text: string): Generator<{ readonly word: string; readonly isFixed: boolean }> {
    let start = 0;
    for (const match of this.#fixed === null ? [] : text.matchAll(this.#fixed)) {
      for (const word of this.#wordsBetween(text.slice(start, match.index))) yield { word, isFixed: false };
      yield { word: match[0], isFixed: true };
      start = match.index + match[0].length;
    }
    for (const word of this.#wordsBetween(text.slice(start))) yield { word, isFixed: false };
  }

  *#wordsBetween(text: string): Generator<string> {
    let start = 0;
    while (start < text.length) {
      let end = start;
      while (text[end] === SPACE) end++;
      end = this.#splitsAtSpace ? text.indexOf(SPACE, end) : -1;
      if (end === -1) end = text.length;
      yield text.slice(start, end);
      start = end;
    }
  }

  *#encodeWord(word: string, ids: number[]): Sliced<void> {
    const known = this.#cache.get(word);
    if (known !== undefined) return yield* this.#write(known, ids);
    const symbols = yield* this.#symbolsOf(word);
    const length = yield* mergePairs(symbols, this.#merges);
    const found = symbols.subarray(0, length);
    yield* this.#write(found, ids);
    if (WordCache.takes(word)) this.#cache.set(word, [...found]);
  }

  /** [characters] the symbol of each. */
  *#symbolsOf(word: string): Sliced<Int32Array> {
    const symbols = new Int32Array(word.length);
    let count = 0;
    for (const char of word) {
      symbols[count++] = this.#symbolOf(char);
      if (count % ITEMS_PER_STEP === 0) yield;
    }
    return symbols.subarray(0, count);
  }

  *#write(symbols: ArrayLike<number>, ids: number[]): Sliced<void> {
    for (let i = 0; i < symbols.length; i++) {
      if ((i + 1) % ITEMS_PER_STEP === 0) yield;
      const symbol = symbols[i]!;
      if (symbol < NO_PIECE) ids.push(symbol);
      else if (this.#file.byteFallback) {
        for (const byte of encoder.encode(String.fromCodePoint(symbol - NO_PIECE))) ids.push(this.#idOfByte.get(byte)!);
      } else if (ids.at(-1) !== this.#unknownId) ids.push(this.#unknownId);
    }
  }

  #symbolOf(char: string): number {
    return this.#idOf.get(char) ?? NO_PIECE + char.codePointAt(0)!;
  }

  /** Every pair of symbols that makes a piece, ranked by the piece's score; equal scores are one rank. */
  #tellMerges(pieces: readonly Piece[]): MergeTable {
    const scores = [...new Set([...this.#idOf.values()].map((id) => pieces[id]!.score))].sort((a, b) => b - a);
    const rankOf = new Map(scores.map((score, rank) => [score, rank]));
    const table = new MergeTable(pieces.length * 4);
    for (const [piece, id] of this.#idOf) {
      const rank = rankOf.get(pieces[id]!.score)!;
      let at = 0;
      for (const char of piece) {
        at += char.length;
        if (at === piece.length) break;
        const left = this.#partOf(piece.slice(0, at));
        const right = this.#partOf(piece.slice(at));
        if (left !== undefined && right !== undefined) table.add(left, right, rank, id);
      }
    }
    return table;
  }

  /** The symbol of a part of a piece, if it can be one. */
  #partOf(part: string): number | undefined {
    const first = String.fromCodePoint(part.codePointAt(0)!);
    return part === first ? this.#symbolOf(part) : this.#idOf.get(part);
  }
}

function checkSupported({ modelType, whitespaceIsSuffix, pieces }: SentencePieceFile): void {
  if (modelType !== "bpe") throw new Error(`Cannot read SentencePiece model: of type ${modelType}, expected bpe`);
  if (whitespaceIsSuffix) throw new Error("Cannot read SentencePiece model: spaces as suffixes, expected as prefixes");
  if (pieces.some(({ type }) => type === "unused")) {
    throw new Error("Cannot read SentencePiece model: it has unused pieces, expected none");
  }
}

/** Owns ids -> text, one id at a time: a character is given out when its last byte is there, never before. */

/** What a detokenizer needs of a tokenizer. */
export interface TokenBytes {
  /** UTF-8 of an id, possibly part of a character; empty for special tokens. `isStart`: no text came before. */
  bytesOf(id: number, isStart?: boolean): Uint8Array;
}

/** Texts of ids whose bytes are whole characters, wherever they stand; null for those whose are not. */
type Pieces = (string | null | undefined)[];
const piecesOf = new WeakMap<TokenBytes, Pieces>();

/** Joined, the pieces are the UTF-8 decoding of all bytes; bytes that are no character become U+FFFD. */
export class Detokenizer {
  readonly #tokens: TokenBytes;
  readonly #pieces: Pieces;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  /** No id with text came yet. */
  #isStart = true;
  /** Part of a character came, and perhaps not yet its end. */
  #isPartial = false;

  constructor(tokens: TokenBytes) {
    this.#tokens = tokens;
    this.#pieces = piecesOf.get(tokens) ?? [];
    piecesOf.set(tokens, this.#pieces);
  }

  /** Text that `id` completes, possibly none. */
  push(id: number): string {
    const piece = this.#isStart ? null : this.#pieceOf(id);
    if (piece !== null && !this.#isPartial) return piece;
    // Whole characters end whatever was begun before them; an id without text does not.
    if (piece !== "") this.#isPartial = piece === null;
    return this.#decode(id);
  }

  /** What is left: U+FFFD for a character that was never completed. */
  end(): string {
    return this.#decoder.decode();
  }

  #decode(id: number): string {
    const bytes = this.#tokens.bytesOf(id, this.#isStart);
    // A space that was left out counts as text.
    if (this.#isStart && this.#tokens.bytesOf(id, false).length > 0) this.#isStart = false;
    return this.#decoder.decode(bytes, { stream: true });
  }

  #pieceOf(id: number): string | null {
    const known = this.#pieces[id];
    if (known !== undefined) return known;
    const bytes = this.#tokens.bytesOf(id, false);
    return this.#pieces[id] = wholeText(bytes);
  }
}

function wholeText(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { ignoreBOM: true, fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

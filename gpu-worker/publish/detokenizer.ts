/** Owns ids -> text, one id at a time: a character is given out when its last byte is there, never before. */

/** What a detokenizer needs of a tokenizer. */
export interface TokenBytes {
  /** UTF-8 of an id, possibly part of a character; empty for special tokens. `isStart`: no text came before. */
  bytesOf(id: number, isStart?: boolean): Uint8Array;
}

/** Joined, the pieces are the UTF-8 decoding of all bytes; bytes that are no character become U+FFFD. */
export class Detokenizer {
  readonly #tokens: TokenBytes;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  /** No id with text came yet. */
  #isStart = true;

  constructor(tokens: TokenBytes) {
    this.#tokens = tokens;
  }

  /** Text that `id` completes, possibly none. */
  push(id: number): string {
    const bytes = this.#tokens.bytesOf(id, this.#isStart);
    // A space that was left out counts as text.
    if (this.#isStart && this.#tokens.bytesOf(id, false).length > 0) this.#isStart = false;
    return this.#decoder.decode(bytes, { stream: true });
  }

  /** What is left: U+FFFD for a character that was never completed. */
  end(): string {
    return this.#decoder.decode();
  }
}

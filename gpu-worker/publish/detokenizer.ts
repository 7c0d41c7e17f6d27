/** Owns ids -> text, one id at a time: a character is given out when its last byte is there, never before. */

/** What a detokenizer needs of a tokenizer. */
export interface TokenBytes {
  /** UTF-8 of an id, possibly part of a character; empty for special tokens. */
  bytesOf(id: number): Uint8Array;
}

/** Joined, the pieces are the UTF-8 decoding of all bytes; bytes that are no character become U+FFFD. */
export class Detokenizer {
  readonly #tokens: TokenBytes;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(tokens: TokenBytes) {
    this.#tokens = tokens;
  }

  /** Text that `id` completes, possibly none. */
  push(id: number): string {
    return this.#decoder.decode(this.#tokens.bytesOf(id), { stream: true });
  }

  /** What is left: U+FFFD for a character that was never completed. */
  end(): string {
    return this.#decoder.decode();
  }
}

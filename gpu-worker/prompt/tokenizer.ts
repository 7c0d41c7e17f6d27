/** Owns text <-> ids: what users typed never becomes a control token, and each id has its bytes. */
import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { bytesOfToken } from "./byte_level.ts";

/** A token beside the vocabulary proper. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Left out of decoded text. */
  readonly special: boolean;
}

/** The parts of a tokenizer.json we look at; the library reads the rest. */
export interface TokenizerJson {
  readonly added_tokens: readonly AddedToken[];
  readonly model: { readonly type: string; readonly vocab: Readonly<Record<string, number>> };
  readonly decoder?: unknown;
}

/**
 * Marks of places and boxes in a picture. They steer nothing and the vendor's own prompts for grounding hold them, so
 * they are taken from users' text as the vendor takes them. All other added tokens are split up there.
 */
const MARKUP = new Set(["<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>"]);

/** Text is encoded in pieces of about this many characters, so that too long a text is found out early. */
const PIECE_CHARS = 4_096;
/** A place where no token goes across: the space between two words belongs to the second. */
const WORD_GAP = /(?<=\S) (?=\p{L})/gu;

const NOTHING = new Uint8Array(0);

export class Tokenizer {
  readonly #library: LibraryTokenizer;
  readonly #added = new Map<number, AddedToken>();
  readonly #idOfAdded = new Map<string, number>();
  /** Vocabulary by id. */
  readonly #tokens: string[] = [];

  readonly #pieceChars: number;

  constructor(json: TokenizerJson, pieceChars: number = PIECE_CHARS) {
    this.#pieceChars = pieceChars;
    const markup = json.added_tokens.filter((token) => MARKUP.has(token.content));
    this.#library = new LibraryTokenizer({ ...json, added_tokens: markup }, {});
    for (const [token, id] of Object.entries(json.model.vocab)) this.#tokens[id] = token;
    for (const token of json.added_tokens) {
      this.#added.set(token.id, token);
      this.#idOfAdded.set(token.content, token.id);
    }
  }

  /** One more than the largest id. */
  get size(): number {
    return Math.max(this.#tokens.length, ...[...this.#added.keys()].map((id) => id + 1));
  }

  /**
   * Ids of text as a user typed it: `<|im_end|>` or `<IMG_CONTEXT>` in it are just characters.
   * @param maxIds more are not wanted: the rest of the text is left out once there are more
   */
  encodeText(text: string, maxIds: number = Infinity): number[] {
    const ids: number[] = [];
    for (let start = 0; start < text.length && ids.length <= maxIds;) {
      const end = this.#endOfPiece(text, start);
      for (const id of this.#library.encode(text.slice(start, end), { add_special_tokens: false }).ids) ids.push(id);
      start = end;
    }
    return ids;
  }

  /**
   * Id of a control token.
   * @throws Error when the checkpoint has none
   */
  controlId(content: string): number {
    const id = this.#idOfAdded.get(content);
    if (id === undefined) throw new Error(`Cannot find token ${content}: expected it among the added tokens`);
    return id;
  }

  /** UTF-8 an id adds to the answer, possibly part of a character; nothing for special tokens and unknown ids. */
  bytesOf(id: number): Uint8Array {
    const added = this.#added.get(id);
    if (added !== undefined) return added.special ? NOTHING : new TextEncoder().encode(added.content);
    const token = this.#tokens[id];
    return token === undefined ? NOTHING : bytesOfToken(token);
  }

  #endOfPiece(text: string, start: number): number {
    if (text.length - start <= this.#pieceChars) return text.length;
    WORD_GAP.lastIndex = start + this.#pieceChars;
    return WORD_GAP.exec(text)?.index ?? text.length;
  }
}

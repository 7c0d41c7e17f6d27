/** Owns text <-> ids: what users typed never becomes a control token, and each id has its bytes. */
import { atOnce, type Sliced } from "./slices.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** A token beside the vocabulary proper. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Left out of decoded text. */
  readonly special: boolean;
}

/**
 * Marks of places and boxes in a picture. They steer nothing and the vendor's own prompts for grounding hold them, so
 * they are taken from users' text as the vendor takes them. All other added tokens are split up there.
 */
const MARKUP = new Set(["<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>"]);

const NOTHING = new Uint8Array(0);

/** Whether an added token is one that text may become. */
export function isMarkup(content: string): boolean {
  return MARKUP.has(content);
}

export class Tokenizer {
  /** Stands before every prompt; null where the checkpoint has none. */
  readonly bosId: number | null;
  readonly #vocabulary: Vocabulary;
  readonly #added = new Map<number, AddedToken>();
  readonly #idOfAdded = new Map<string, number>();
  /** Matches one mark; null when the checkpoint has none. */
  readonly #markup: RegExp | null;

  constructor(vocabulary: Vocabulary, addedTokens: readonly AddedToken[], bosId: number | null = null) {
    this.bosId = bosId;
    this.#vocabulary = vocabulary;
    for (const token of addedTokens) {
      this.#added.set(token.id, token);
      this.#idOfAdded.set(token.content, token.id);
    }
    const markup = addedTokens.filter(({ content }) => isMarkup(content)).map(({ content }) => RegExp.escape(content));
    this.#markup = markup.length === 0 ? null : new RegExp(`(${markup.join("|")})`, "u");
  }

  /** One more than the largest id. */
  get size(): number {
    return Math.max(this.#vocabulary.size, ...[...this.#added.keys()].map((id) => id + 1));
  }

  /** One more than the largest id that comes from text or stands before every prompt; control tokens aside. */
  get promptIds(): number {
    const marks = [...this.#added.values()].filter(({ content }) => isMarkup(content)).map(({ id }) => id + 1);
    return Math.max(this.#vocabulary.size, (this.bosId ?? -1) + 1, ...marks);
  }

  /**
   * Ids of text as a user typed it: `<|im_end|>` or `<IMG_CONTEXT>` in it are just characters.
   * @param maxIds more are not wanted: the rest of the text is left out once there are more
   */
  encodeText(text: string, maxIds: number = Infinity): number[] {
    return atOnce(this.encodeInSteps(text, maxIds));
  }

  /** The same, with places to rest: a million characters take a second. */
  *encodeInSteps(text: string, maxIds: number = Infinity): Sliced<number[]> {
    const ids: number[] = [];
    // Texts and marks take turns.
    for (const part of this.#markup === null ? [text] : text.split(this.#markup)) {
      if (ids.length > maxIds) break;
      const mark = isMarkup(part) ? this.#idOfAdded.get(part) : undefined;
      if (mark !== undefined) ids.push(mark);
      else if (part !== "") yield* this.#vocabulary.encode(part, ids, maxIds);
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

  /**
   * UTF-8 an id adds to the answer, possibly part of a character; nothing for special tokens and unknown ids.
   * @param isStart nothing came before it in the answer
   */
  bytesOf(id: number, isStart: boolean = false): Uint8Array {
    const added = this.#added.get(id);
    if (added !== undefined) return added.special ? NOTHING : new TextEncoder().encode(added.content);
    return this.#vocabulary.bytesOf(id, isStart);
  }

  /** UTF-8 of an id, a special token's name included. */
  contentOf(id: number): Uint8Array {
    const added = this.#added.get(id);
    return added === undefined ? this.bytesOf(id) : new TextEncoder().encode(added.content);
  }
}

/** What a vocabulary does, whichever files it came from: text to ids, ids to bytes. Knows nothing of added tokens. */
import type { Sliced } from "./slices.ts";

export interface Vocabulary {
  /** One more than the largest id. */
  readonly size: number;
  /**
   * Appends the ids of text to `ids`. May end early once there are more than `maxIds` in it.
   */
  encode(text: string, ids: number[], maxIds: number): Sliced<void>;
  /**
   * UTF-8 an id stands for, possibly part of a character; empty for ids without text.
   * @param isStart nothing came before: a space that only marks the beginning of a word is left out
   */
  bytesOf(id: number, isStart: boolean): Uint8Array;
}

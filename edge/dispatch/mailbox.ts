/** What a job has for its client and the client has not taken: a few pieces of text, then the end. Bounded. */
import {
  type FinishReason,
  MAX_UNREAD_CHARS,
  type TesseraError,
  type Usage,
  type WorkerTimings,
} from "@tessera/shared";

/** The end of an answer that went well. */
export interface AnswerEnd {
  readonly finishReason: FinishReason;
  readonly usage: Usage;
  readonly timings: WorkerTimings;
}

export type AnswerPart =
  /** May be empty: the first token came, its text is still held back. */
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "end"; readonly end: AnswerEnd };

/** Pieces kept apart; what comes on top is joined to the last. */
const MAX_PIECES = 64;

/** One writer, one reader. A reader that falls far behind gets the text of several events as one part. */
export class Mailbox {
  readonly #pieces: string[] = [];
  #numChars = 0;
  #outcome: { readonly end: AnswerEnd } | { readonly error: TesseraError } | null = null;
  #wake: (() => void) | null = null;

  /** False when the reader left so much unread that this text was not taken. */
  push(text: string): boolean {
    if (this.#outcome !== null) return true;
    if (this.#numChars + text.length > MAX_UNREAD_CHARS) return false;
    this.#numChars += text.length;
    if (this.#pieces.length < MAX_PIECES) this.#pieces.push(text);
    else this.#pieces[MAX_PIECES - 1] += text;
    this.#wake?.();
    return true;
  }

  /** The end; what was pushed before is read first. Only the first outcome counts. */
  finish(outcome: { readonly end: AnswerEnd } | { readonly error: TesseraError }): void {
    this.#outcome ??= outcome;
    this.#wake?.();
  }

  /**
   * The next part, as soon as there is one. Not to be called after the end.
   * @throws TesseraError when the answer failed
   */
  async next(): Promise<AnswerPart> {
    while (this.#pieces.length === 0 && this.#outcome === null) {
      await new Promise<void>((resolve) => this.#wake = resolve);
      this.#wake = null;
    }
    const text = this.#pieces.shift();
    if (text !== undefined) {
      this.#numChars -= text.length;
      return { type: "text", text };
    }
    if ("error" in this.#outcome!) throw this.#outcome.error;
    return { type: "end", end: this.#outcome!.end };
  }
}

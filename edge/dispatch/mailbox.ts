/** What a job has for its client and the client has not taken: text gathered in one place, then the end. Bounded. */
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

/** One writer, one reader. A reader that is slower than the writer gets the text of several events as one part. */
export class Mailbox {
  #text: string | null = null;
  #outcome: { readonly end: AnswerEnd } | { readonly error: TesseraError } | null = null;
  #wake: (() => void) | null = null;

  /** False when the reader left so much unread that this text was not taken. */
  push(text: string): boolean {
    if (this.#outcome !== null) return true;
    if ((this.#text?.length ?? 0) + text.length > MAX_UNREAD_CHARS) return false;
    this.#text = (this.#text ?? "") + text;
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
    while (this.#text === null && this.#outcome === null) {
      await new Promise<void>((resolve) => this.#wake = resolve);
      this.#wake = null;
    }
    if (this.#text !== null) {
      const text = this.#text;
      this.#text = null;
      return { type: "text", text };
    }
    if ("error" in this.#outcome!) throw this.#outcome.error;
    return { type: "end", end: this.#outcome!.end };
  }
}

/** What a job has for its client and the client has not taken: a few pieces of text, then the end. Bounded. */
import {
  type FinishReason,
  MAX_UNREAD_CHARS,
  MAX_UNREAD_PIECES,
  type TesseraError,
  type TokenLogprobs,
  type Usage,
  type WorkerTimings,
} from "@tessera/shared";

/** The end of all answers, when it went well. */
export interface AnswerEnd {
  /** Of the first answer. */
  readonly finishReason: FinishReason;
  readonly usage: Usage;
  readonly timings: WorkerTimings;
}

/** Text of one answer. May be empty: the first token came, its text is still held back. */
export interface TextPart {
  readonly type: "text";
  /** Which answer, where there are several. */
  readonly choice: number;
  readonly text: string;
  /** Of the tokens that came with the text, where they are told. */
  readonly logprobs?: readonly TokenLogprobs[] | undefined;
}

export type AnswerPart =
  | TextPart
  /** One of several answers is complete. */
  | { readonly type: "choice_end"; readonly choice: number; readonly finishReason: FinishReason }
  | { readonly type: "end"; readonly end: AnswerEnd };

/** What a token's log-probability becomes, in characters, on top of its bytes. */
const LOGPROB_CHARS = 64;

/** One writer, one reader. A reader that falls far behind gets the text of several events as one part. */
export class Mailbox {
  readonly #pieces: Exclude<AnswerPart, { type: "end" }>[] = [];
  #numChars = 0;
  #outcome: { readonly end: AnswerEnd } | { readonly error: TesseraError } | null = null;
  #wake: (() => void) | null = null;

  /** False when the reader left so much unread that this text was not taken. */
  push(text: string, choice = 0, logprobs?: readonly TokenLogprobs[]): boolean {
    if (this.#outcome !== null) return true;
    const piece: TextPart = { type: "text", choice, text, ...(logprobs === undefined ? {} : { logprobs }) };
    const size = sizeOf(piece);
    if (this.#numChars + size > MAX_UNREAD_CHARS) return false;
    this.#numChars += size;
    const last = this.#pieces.length < MAX_UNREAD_PIECES
      ? -1
      : this.#pieces.findLastIndex((each) => each.choice === choice);
    const before = this.#pieces[last];
    if (before?.type === "text") this.#pieces[last] = joined(before, piece);
    else this.#pieces.push(piece);
    this.#wake?.();
    return true;
  }

  /** One of several answers is complete. */
  finishChoice(choice: number, finishReason: FinishReason): void {
    if (this.#outcome !== null) return;
    this.#pieces.push({ type: "choice_end", choice, finishReason });
    this.#wake?.();
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
    const piece = this.#pieces.shift();
    if (piece !== undefined) {
      if (piece.type === "text") this.#numChars -= sizeOf(piece);
      return piece;
    }
    if ("error" in this.#outcome!) throw this.#outcome.error;
    return { type: "end", end: this.#outcome!.end };
  }
}

function joined(a: TextPart, b: TextPart): TextPart {
  const logprobs = [...a.logprobs ?? [], ...b.logprobs ?? []];
  const { choice } = a;
  return { type: "text", choice, text: a.text + b.text, ...(logprobs.length === 0 ? {} : { logprobs }) };
}

/** Characters a piece stands for. */
function sizeOf({ text, logprobs = [] }: TextPart): number {
  let size = text.length;
  for (const { bytes, top } of logprobs) {
    size += bytes.length + LOGPROB_CHARS;
    for (const each of top) size += each.bytes.length + LOGPROB_CHARS;
  }
  return size;
}

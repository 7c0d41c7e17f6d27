/** The order of an answer: which events are new, which are repeats, which leave a gap. Pure; no clock, no bus. */
import type { EventBody, FinishReason, TokenLogprobs } from "@tessera/shared";

type TokensEvent = Extract<EventBody, { type: "tokens" }>;
type ChoiceDoneEvent = Extract<EventBody, { type: "choice_done" }>;
type DoneEvent = Extract<EventBody, { type: "done" }>;
type ErrorEvent = Extract<EventBody, { type: "error" }>;

/** What to do with an event. */
export type Verdict =
  /** Of an older attempt, or heard before. */
  | { readonly kind: "drop" }
  /** Nothing new, but the worker lives; or it has given the job back. */
  | { readonly kind: "alive"; readonly isHandedOver: boolean }
  /** Pass the text on; may be empty. */
  | {
    readonly kind: "text";
    readonly choice: number;
    readonly text: string;
    readonly logprobs?: readonly TokenLogprobs[] | undefined;
  }
  /** One of several answers is complete, with the last of its text. */
  | {
    readonly kind: "choice_done";
    readonly choice: number;
    readonly text: string;
    readonly finishReason: FinishReason;
  }
  | { readonly kind: "done"; readonly event: DoneEvent }
  | { readonly kind: "error"; readonly event: ErrorEvent }
  /** Something between was lost: the answer cannot go on. */
  | { readonly kind: "gap"; readonly diagnostic: string };

export class TokenSequence {
  /** Of each answer every id passed on, in order. */
  readonly #ids: number[][];
  /** Answers known to be complete. */
  readonly #complete = new Set<number>();
  #attempt = 0;

  /** @param numChoices answers to the one prompt */
  constructor(numChoices = 1) {
    this.#ids = Array.from({ length: numChoices }, () => []);
  }

  /** The newest attempt granted; 0 before the first. */
  get attempt(): number {
    return this.#attempt;
  }

  /** Of all answers. */
  get numIds(): number {
    return this.#ids.reduce((sum, ids) => sum + ids.length, 0);
  }

  /** A copy of the first answer's ids, for the worker that goes on behind them. */
  resumeIds(): number[] {
    return this.#ids[0]!.slice();
  }

  /** The same of the other answers. */
  resumeChoices(): number[][] {
    return this.#ids.slice(1).map((ids) => ids.slice());
  }

  /** Makes `attempt` the one whose events count. False when a newer one already does. */
  grant(attempt: number): boolean {
    if (attempt < this.#attempt) return false;
    this.#attempt = attempt;
    return true;
  }

  accept(event: EventBody): Verdict {
    if (this.#attempt === 0 || event.attempt < this.#attempt) return { kind: "drop" };
    if (event.attempt > this.#attempt) {
      return { kind: "gap", diagnostic: `event of attempt ${event.attempt}, granted ${this.#attempt}` };
    }
    switch (event.type) {
      case "progress":
        return { kind: "alive", isHandedOver: event.handed_over === true };
      case "error":
        return { kind: "error", event };
      case "done":
        if (event.seq === this.numIds) return { kind: "done", event };
        return { kind: "gap", diagnostic: `done at seq ${event.seq}, expected ${this.numIds}` };
      case "choice_done":
        return this.#acceptChoiceDone(event);
      case "tokens":
        return this.#acceptTokens(event);
    }
  }

  #acceptTokens({ seq, ids, text, choice = 0, logprobs }: TokensEvent): Verdict {
    const known = this.#ids[choice];
    if (known === undefined) return { kind: "gap", diagnostic: `tokens of choice ${choice} of ${this.#ids.length}` };
    const expected = known.length;
    if (seq === expected) {
      for (const id of ids) known.push(id);
      return { kind: "text", choice, text, logprobs };
    }
    if (seq + ids.length <= expected && seq < expected) return { kind: "drop" };
    // Half new: the text of the new ids cannot be told from that of the old ones.
    return { kind: "gap", diagnostic: `tokens at seq ${seq}..${seq + ids.length}, expected ${expected}` };
  }

  #acceptChoiceDone({ seq, text, choice = 0, finish_reason }: ChoiceDoneEvent): Verdict {
    if (this.#complete.has(choice)) return { kind: "drop" };
    const expected = this.#ids[choice]?.length;
    if (seq !== expected) {
      return {
        kind: "gap",
        diagnostic: `choice ${choice} done at seq ${seq}, expected ${expected ?? "no such choice"}`,
      };
    }
    this.#complete.add(choice);
    return { kind: "choice_done", choice, text, finishReason: finish_reason };
  }
}

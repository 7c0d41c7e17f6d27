/** The order of an answer: which events are new, which are repeats, which leave a gap. Pure; no clock, no bus. */
import type { JobEvent } from "@tessera/shared";

type DoneEvent = Extract<JobEvent, { type: "done" }>;
type ErrorEvent = Extract<JobEvent, { type: "error" }>;

/** What to do with an event. */
export type Verdict =
  /** Of an older attempt, or heard before. */
  | { readonly kind: "drop" }
  /** Nothing new, but the worker lives; or it has given the job back. */
  | { readonly kind: "alive"; readonly isHandedOver: boolean }
  /** Pass the text on; may be empty. */
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "done"; readonly event: DoneEvent }
  | { readonly kind: "error"; readonly event: ErrorEvent }
  /** Something between was lost: the answer cannot go on. */
  | { readonly kind: "gap"; readonly diagnostic: string };

export class TokenSequence {
  /** Every id passed on, in order. */
  readonly #ids: number[] = [];
  #attempt = 0;

  /** The newest attempt granted; 0 before the first. */
  get attempt(): number {
    return this.#attempt;
  }

  get numIds(): number {
    return this.#ids.length;
  }

  /** A copy, for the worker that goes on behind them. */
  resumeIds(): number[] {
    return this.#ids.slice();
  }

  /** Makes `attempt` the one whose events count. False when a newer one already does. */
  grant(attempt: number): boolean {
    if (attempt < this.#attempt) return false;
    this.#attempt = attempt;
    return true;
  }

  accept(event: JobEvent): Verdict {
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
        if (event.seq === this.#ids.length) return { kind: "done", event };
        return { kind: "gap", diagnostic: `done at seq ${event.seq}, expected ${this.#ids.length}` };
      case "tokens":
        return this.#acceptTokens(event.seq, event.ids, event.text);
    }
  }

  #acceptTokens(seq: number, ids: readonly number[], text: string): Verdict {
    const expected = this.#ids.length;
    if (seq === expected) {
      for (const id of ids) this.#ids.push(id);
      return { kind: "text", text };
    }
    if (seq + ids.length <= expected && seq < expected) return { kind: "drop" };
    // Half new: the text of the new ids cannot be told from that of the old ones.
    return { kind: "gap", diagnostic: `tokens at seq ${seq}..${seq + ids.length}, expected ${expected}` };
  }
}

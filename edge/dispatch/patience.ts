/** How long a job waits for those who work on it: when nobody is left, when an attempt counts as lost, when time is over. */
import { LOST_MS, TesseraError } from "@tessera/shared";

/** What a sweep has to know of the world. */
export interface SweepFacts {
  readonly now: number;
  readonly silenceMs: number;
  readonly noWorkerMs: number;
  readonly restartMs: number;
  /** A worker of the model lives; one lives that takes new jobs. */
  readonly isAlive: boolean;
  readonly isServed: boolean;
}

/** Give the job up; begin another attempt; null: wait. */
export type Verdict = { readonly giveUp: TesseraError } | { readonly lost: string } | null;

export class Patience {
  readonly #deadlineAt: number;
  /** performance.now(), as all times here. */
  #heardAt: number;
  /** Since when no worker of the model has lived. */
  #aloneSince: number | null = null;

  constructor(now: number, deadlineAt: number) {
    this.#heardAt = now;
    this.#deadlineAt = deadlineAt;
  }

  /** When something of the job was heard last. */
  get heardAt(): number {
    return this.#heardAt;
  }

  heard(): void {
    this.#heardAt = performance.now();
  }

  /** @param job whether anybody ever had it, and who has it now */
  judge(
    facts: SweepFacts,
    { hasBegun, attempt, workerId }: { hasBegun: boolean; attempt: number; workerId: string | null },
  ): Verdict {
    if (facts.now >= this.#deadlineAt) return { giveUp: new TesseraError("deadline_exceeded") };
    const silentMs = facts.now - this.#heardAt;
    const isWaiting = !hasBegun || silentMs > facts.silenceMs;
    const hasHope = hasBegun ? facts.isAlive : facts.isServed;
    if (!isWaiting || hasHope) this.#aloneSince = null;
    else this.#aloneSince ??= facts.now;
    const aloneMs = this.#aloneSince === null ? 0 : facts.now - this.#aloneSince;
    if (!hasBegun) {
      if (aloneMs < facts.noWorkerMs) return null;
      return { giveUp: new TesseraError("no_worker", { diagnostic: "Unclaimed, and no worker lives" }) };
    }
    if (aloneMs >= facts.restartMs) {
      const diagnostic = `Silent in attempt ${attempt}, no worker lives`;
      return { giveUp: new TesseraError("worker_lost", { diagnostic }) };
    }
    return silentMs > LOST_MS && workerId !== null ? { lost: `silent for ${Math.round(silentMs)} ms` } : null;
  }
}

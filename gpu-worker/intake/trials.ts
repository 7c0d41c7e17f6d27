/** Owns the turns of jobs that may end the worker: one at a time up to its first token, so that the cause is found. */
import type { LiveJob } from "./live_job.ts";

export class Trials {
  readonly #onTurn: (job: LiveJob) => void;
  #current: LiveJob | null = null;
  /** In order of arrival. */
  readonly #waiting: LiveJob[] = [];

  /** @param onTurn called when a job's turn has come */
  constructor(onTurn: (job: LiveJob) => void) {
    this.#onTurn = onTurn;
  }

  enter(job: LiveJob): void {
    this.#waiting.push(job);
    this.#next();
  }

  /** The job has its first token, or has ended. Idempotent; most jobs never entered. */
  leave(job: LiveJob): void {
    const waiting = this.#waiting.indexOf(job);
    if (waiting !== -1) this.#waiting.splice(waiting, 1);
    if (this.#current !== job) return;
    this.#current = null;
    this.#next();
  }

  #next(): void {
    if (this.#current !== null) return;
    this.#current = this.#waiting.shift() ?? null;
    if (this.#current !== null) this.#onTurn(this.#current);
  }
}

/** Counts attempts in a row that ended with their worker and brought nothing new. Pure; no clock, no bus. */
import { MAX_LOST_ATTEMPTS, MAX_LOST_IN_ALL } from "@tessera/shared";

export class Losses {
  /** Workers of the attempts counted, the latest last. */
  readonly #workers: string[] = [];
  /** Attempts that were lost, tokens or not. */
  numInAll = 0;
  /** The attempt that runs: its worker, and how many ids there were before it. */
  #running: { readonly workerId: string; readonly numIds: number } | null = null;

  /** Worker of the attempt that runs; null when none does. */
  get workerId(): string | null {
    return this.#running?.workerId ?? null;
  }

  get workerIds(): string[] {
    return this.#workers.slice();
  }

  /** The next attempt shall run by itself: the one before may have ended its worker. */
  get isSuspect(): boolean {
    return this.#workers.length > 0;
  }

  /** The job counts as the cause. */
  get isCause(): boolean {
    return this.#workers.length >= MAX_LOST_ATTEMPTS || this.numInAll >= MAX_LOST_IN_ALL;
  }

  granted(workerId: string, numIds: number): void {
    this.#running = { workerId, numIds };
  }

  /** The worker gave the job back by itself. */
  handedOver(): void {
    this.#running = null;
  }

  /** The running attempt, if there is one, is lost. */
  lost(numIds: number): void {
    if (this.#running === null) return;
    this.numInAll++;
    if (numIds > this.#running.numIds) this.#workers.length = 0;
    else this.#workers.push(this.#running.workerId);
    this.#running = null;
  }
}

/** Counts attempts in a row that ended with their worker and brought nothing new. Pure; no clock, no bus. */
import { MAX_LOST_ATTEMPTS, MAX_LOST_IN_ALL } from "@tessera/shared";

export class Losses {
  /** Workers of the attempts counted, the latest last. */
  readonly #workers: string[] = [];
  /** Attempts that were lost, tokens or not. */
  numInAll = 0;
  /** The attempt that runs: its worker, and how many ids there were before it. */
  #running: { readonly workerId: string; readonly numIds: number; hasBegun: boolean } | null = null;

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

  /** @param hasBegun false when it waits for its turn among jobs that may end the worker */
  granted(workerId: string, numIds: number, hasBegun: boolean): void {
    this.#running = { workerId, numIds, hasBegun };
  }

  /** Its turn has come. */
  begun(): void {
    if (this.#running !== null) this.#running.hasBegun = true;
  }

  /** The worker gave the job back by itself. */
  handedOver(): void {
    this.#running = null;
  }

  /** The running attempt, if there is one, is lost. */
  lost(numIds: number): void {
    const running = this.#running;
    this.#running = null;
    // One that waited for its turn had no part in it.
    if (running === null || !running.hasBegun) return;
    this.numInAll++;
    if (numIds > running.numIds) this.#workers.length = 0;
    else this.#workers.push(running.workerId);
  }
}

/** Jobs that were answered from a worker's own queue: where that worker died before it acknowledged, the edge takes them out. */
import { LEFTOVER_SWEEP_MS, LEFTOVER_WAIT_MS } from "@tessera/shared";

export interface LeftoversOptions {
  readonly isAlive: (workerId: string) => boolean;
  /** Takes a message out of the live stream. */
  readonly withdraw: (streamSeq: number) => void;
}

export class Leftovers {
  readonly #options: LeftoversOptions;
  /** Oldest first. */
  readonly #answered: { readonly streamSeq: number; readonly workerId: string; readonly dueAt: number }[] = [];
  #timer: ReturnType<typeof setInterval> | null = null;

  constructor(options: LeftoversOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#answered.length;
  }

  add(streamSeq: number, workerId: string): void {
    this.#answered.push({ streamSeq, workerId, dueAt: performance.now() + LEFTOVER_WAIT_MS });
    this.#timer ??= setInterval(() => this.sweep(), LEFTOVER_SWEEP_MS);
  }

  /** @param now of performance.now() */
  sweep(now: number = performance.now()): void {
    while (this.#answered[0] !== undefined && this.#answered[0].dueAt <= now) {
      const { streamSeq, workerId } = this.#answered.shift()!;
      // Nobody else listens to that worker's queue, so its message would stay for as long as the stream keeps any.
      if (!this.#options.isAlive(workerId)) this.#options.withdraw(streamSeq);
    }
    if (this.#answered.length === 0) this.close();
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}

/** Seeded chance for scenes and questions: one stream of draws, the same on every machine. */
import { CounterStream } from "../../support/counter_random.ts";

export class Draw {
  readonly #stream: CounterStream;
  #next = 0;

  constructor(seed: number, name: string) {
    this.#stream = new CounterStream(seed, name);
  }

  /** Uniform in [low, high). */
  uniform(low: number, high: number): number {
    return low + this.#stream.uniform(this.#next++) * (high - low);
  }

  /** Uniform in low..high, both included. */
  integer(low: number, high: number): number {
    return low + this.#stream.integer(this.#next++, high - low + 1);
  }

  chance(share: number): boolean {
    return this.#stream.uniform(this.#next++) < share;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.integer(0, values.length - 1)]!;
  }

  /** `count` different ones of `values`. */
  sample<T>(values: readonly T[], count: number): T[] {
    const left = [...values];
    return Array.from({ length: count }, () => left.splice(this.integer(0, left.length - 1), 1)[0]!);
  }
}

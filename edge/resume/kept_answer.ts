/** An answer that goes on without its client: every event numbered, kept for whoever takes the stream up again. */

/** One event of a stream. */
export interface KeptEvent {
  readonly index: number;
  readonly data: string;
}

/** Readers come and go; the answer is read to its end once, by itself. */
export class KeptAnswer {
  readonly id: string;
  readonly #events: string[] = [];
  #hasEnded = false;
  #changed = Promise.withResolvers<void>();

  constructor(id: string) {
    this.id = id;
  }

  push(data: string): KeptEvent {
    const event = { index: this.#events.length, data };
    this.#events.push(data);
    this.#wake();
    return event;
  }

  end(): void {
    this.#hasEnded = true;
    this.#wake();
  }

  /** Events behind number `after`, as they come; -1 for all. */
  async *follow(after: number): AsyncGenerator<KeptEvent, void> {
    for (let index = after + 1;; index++) {
      while (index >= this.#events.length) {
        if (this.#hasEnded) return;
        await this.#changed.promise;
      }
      yield { index, data: this.#events[index]! };
    }
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

/** Owns a list of sequences by rank: smaller priority first, then order of arrival, whatever the order they are added in. */
import type { Sequence } from "./sequence.ts";

/** Whether `a` goes before `b`. Without equals, because arrivals differ. */
export function isBefore(a: Sequence, b: Sequence): boolean {
  return a.priority < b.priority || (a.priority === b.priority && a.arrival < b.arrival);
}

export class RankList {
  readonly #items: Sequence[] = [];

  get length(): number {
    return this.#items.length;
  }

  get first(): Sequence | undefined {
    return this.#items[0];
  }

  get last(): Sequence | undefined {
    return this.#items.at(-1);
  }

  /** First in rank first. Not to be changed meanwhile. */
  [Symbol.iterator](): Iterator<Sequence> {
    return this.#items.values();
  }

  /** Last in rank first. Not to be changed meanwhile. */
  *fromLast(): Generator<Sequence> {
    for (let i = this.#items.length - 1; i >= 0; i--) yield this.#items[i]!;
  }

  add(sequence: Sequence): void {
    let at = this.#items.length;
    while (at > 0 && isBefore(sequence, this.#items[at - 1]!)) at -= 1;
    this.#items.splice(at, 0, sequence);
  }

  /** Takes a sequence out, if it is here. */
  delete(sequence: Sequence): boolean {
    const at = this.#items.indexOf(sequence);
    if (at === -1) return false;
    this.#items.splice(at, 1);
    return true;
  }

  /** Throws unless the order is kept and nobody is here twice. */
  checkIntegrity(): void {
    for (let i = 1; i < this.#items.length; i++) {
      const [before, after] = [this.#items[i - 1]!, this.#items[i]!];
      if (!isBefore(before, after)) throw new Error(`Sequence ${after.id} stands behind ${before.id}`);
    }
  }
}

/** Owns a list of sequences in order of arrival, whatever the order in which they are added. */
import type { Sequence } from "./sequence.ts";

export class ArrivalList {
  readonly #items: Sequence[] = [];

  get length(): number {
    return this.#items.length;
  }

  get oldest(): Sequence | undefined {
    return this.#items[0];
  }

  /** Oldest first. Not to be changed meanwhile. */
  [Symbol.iterator](): Iterator<Sequence> {
    return this.#items.values();
  }

  /** Youngest first. Not to be changed meanwhile. */
  *fromYoungest(): Generator<Sequence> {
    for (let i = this.#items.length - 1; i >= 0; i--) yield this.#items[i]!;
  }

  add(sequence: Sequence): void {
    let at = this.#items.length;
    while (at > 0 && this.#items[at - 1]!.arrival > sequence.arrival) at -= 1;
    this.#items.splice(at, 0, sequence);
  }

  /** Takes a sequence out, if it is here. */
  delete(sequence: Sequence): void {
    const at = this.#items.indexOf(sequence);
    if (at !== -1) this.#items.splice(at, 1);
  }

  /** Throws unless the order is kept and nobody is here twice. */
  checkIntegrity(): void {
    for (let i = 1; i < this.#items.length; i++) {
      const [older, younger] = [this.#items[i - 1]!, this.#items[i]!];
      if (older.arrival >= younger.arrival) throw new Error(`Sequence ${younger.id} stands behind ${older.id}`);
    }
  }
}

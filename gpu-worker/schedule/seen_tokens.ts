/** Owns which tokens a sequence has had, and how often in its answer, as the engine's penalties need it. */

export class SeenTokens {
  #ids = new Int32Array(64);
  #counts = new Int32Array(64);
  #length = 0;
  /** Where each id stands. */
  readonly #indexOf = new Map<number, number>();

  /** [length] distinct ids. A view, good until the next token. */
  get ids(): Int32Array {
    return this.#ids.subarray(0, this.#length);
  }

  /** [length] how often each is in the answer; 0: in the prompt alone. */
  get counts(): Int32Array {
    return this.#counts.subarray(0, this.#length);
  }

  addOfPrompt(id: number): void {
    this.#find(id);
  }

  addOfAnswer(id: number): void {
    this.#counts[this.#find(id)]! += 1;
  }

  #find(id: number): number {
    let index = this.#indexOf.get(id);
    if (index !== undefined) return index;
    index = this.#length++;
    if (index === this.#ids.length) {
      this.#ids = grown(this.#ids);
      this.#counts = grown(this.#counts);
    }
    this.#ids[index] = id;
    this.#indexOf.set(id, index);
    return index;
  }
}

function grown(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2);
  larger.set(array);
  return larger;
}

/** Owns lists of token ids with a number each, one list a sequence, one behind the other. */

export class Ragged {
  #starts = new Int32Array(1);
  #ids = new Int32Array(256);
  #counts = new Int32Array(256);
  #numbers = new Float32Array(256);
  #numRows = 0;
  #length = 0;

  /** [S + 1] */
  get starts(): Int32Array {
    return this.#starts.subarray(0, this.#numRows + 1);
  }

  /** [length] */
  get ids(): Int32Array {
    return this.#ids.subarray(0, this.#length);
  }

  /** [length] Where the numbers are whole. */
  get counts(): Int32Array {
    return this.#counts.subarray(0, this.#length);
  }

  /** [length] Where they are not. */
  get numbers(): Float32Array {
    return this.#numbers.subarray(0, this.#length);
  }

  /** Starts over. */
  start(numRows: number): void {
    if (numRows + 1 > this.#starts.length) this.#starts = new Int32Array(2 * numRows + 1);
    this.#numRows = 0;
    this.#length = 0;
  }

  addCounts(ids: Int32Array, counts: Int32Array): void {
    const at = this.#add(ids);
    this.#counts.set(counts, at);
  }

  addNumbers(ids: Int32Array, numbers: Float32Array): void {
    const at = this.#add(ids);
    this.#numbers.set(numbers, at);
  }

  /** The same number for all. */
  addNumber(ids: Int32Array, number: number): void {
    const at = this.#add(ids);
    this.#numbers.fill(number, at, at + ids.length);
  }

  /** The list of the next sequence is complete. */
  endRow(): void {
    this.#numRows += 1;
    this.#starts[this.#numRows] = this.#length;
  }

  #add(ids: Int32Array): number {
    const at = this.#length;
    this.#length += ids.length;
    if (this.#length > this.#ids.length) {
      const length = 2 * this.#length;
      this.#ids = copied(this.#ids, new Int32Array(length));
      this.#counts = copied(this.#counts, new Int32Array(length));
      this.#numbers = copied(this.#numbers, new Float32Array(length));
    }
    this.#ids.set(ids, at);
    return at;
  }
}

function copied<A extends Int32Array | Float32Array>(from: A, to: A): A {
  to.set(from);
  return to;
}

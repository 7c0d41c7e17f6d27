/** How often something has happened in the last while. */

/** Times kept at most; the oldest go first, and the while with them. */
const MAX_TIMES = 1_024;

export class Pace {
  readonly #windowMs: number;
  readonly #now: () => number;
  /** Oldest first. */
  readonly #times: number[] = [];

  constructor(windowMs: number, now: () => number = () => performance.now()) {
    this.#windowMs = windowMs;
    this.#now = now;
  }

  note(): void {
    this.#times.push(this.#now());
    this.#forget();
    if (this.#times.length > MAX_TIMES) this.#times.shift();
  }

  /** Times in the window. */
  get count(): number {
    this.#forget();
    return this.#times.length;
  }

  /** Per second, since the first time in the window; null when there is none. */
  perSecond(): number | null {
    this.#forget();
    const [first] = this.#times;
    return first === undefined ? null : this.#times.length / Math.max(1, (this.#now() - first) / 1_000);
  }

  #forget(): void {
    const oldest = this.#now() - this.#windowMs;
    const kept = this.#times.findIndex((time) => time >= oldest);
    this.#times.splice(0, kept === -1 ? this.#times.length : kept);
  }
}

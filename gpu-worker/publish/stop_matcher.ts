/** Owns stop strings: holds text back while it may be the beginning of one, and never lets a stop string out. */

export interface StopStep {
  /** Text that is safe to send. */
  readonly text: string;
  readonly isStopped: boolean;
}

/**
 * The stop string that is complete first wins; of those complete at the same character, the longest. So the outcome
 * does not depend on how the text is cut into pieces.
 */
export class StopMatcher {
  readonly #stops: readonly string[];
  #held = "";

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  push(piece: string): StopStep {
    const text = this.#held + piece;
    const match = this.#firstMatch(text);
    if (match !== null) {
      this.#held = "";
      return { text: text.slice(0, match), isStopped: true };
    }
    const numHeld = this.#heldLength(text);
    this.#held = text.slice(text.length - numHeld);
    return { text: text.slice(0, text.length - numHeld), isStopped: false };
  }

  /** The text still held back, when the answer ends for another reason. */
  end(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }

  /** Where the winning stop string begins. */
  #firstMatch(text: string): number | null {
    let start: number | null = null;
    let end = Infinity;
    for (const stop of this.#stops) {
      const at = text.indexOf(stop);
      if (at === -1) continue;
      if (at + stop.length < end || (at + stop.length === end && at < start!)) {
        start = at;
        end = at + stop.length;
      }
    }
    return start;
  }

  /** Length of the longest end of `text` that begins a stop string. */
  #heldLength(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}

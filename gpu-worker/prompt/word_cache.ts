/** Ids of words met before: most of a text is words that come again. */

/** Longer words are not kept. */
const MAX_CHARS = 64;
const MAX_WORDS = 16_384;

export class WordCache {
  /** The newer half and the older one, so that forgetting costs nothing. */
  #young = new Map<string, readonly number[]>();
  #old = new Map<string, readonly number[]>();

  get(word: string): readonly number[] | undefined {
    const found = this.#young.get(word);
    if (found !== undefined) return found;
    const older = this.#old.get(word);
    if (older !== undefined) this.set(word, older);
    return older;
  }

  static takes(word: string): boolean {
    return word.length <= MAX_CHARS;
  }

  set(word: string, ids: readonly number[]): void {
    if (this.#young.size >= MAX_WORDS / 2) [this.#old, this.#young] = [this.#young, new Map()];
    this.#young.set(word, ids);
  }
}

/** Owns sequences that wait for another's prompt to be computed: the other answers of a request, which share its KV. */
import type { Sequence } from "./sequence.ts";

const NOBODY: readonly Sequence[] = [];

export class Followers {
  readonly #kvBlockSize: number;
  readonly #following = new Set<Sequence>();

  constructor(kvBlockSize: number) {
    this.#kvBlockSize = kvBlockSize;
  }

  get length(): number {
    return this.#following.size;
  }

  [Symbol.iterator](): IterableIterator<Sequence> {
    return this.#following.values();
  }

  /** Lets a sequence wait for its leader; false when there is nothing to wait for. */
  add(sequence: Sequence): boolean {
    const { leader } = sequence;
    if (leader === null || !this.#isPrefilling(leader)) return false;
    sequence.state = "following";
    leader.followers.push(sequence);
    this.#following.add(sequence);
    return true;
  }

  delete(sequence: Sequence): void {
    this.#following.delete(sequence);
  }

  /** Those whose leader has computed all that they can share; they wait no longer. */
  takeReady(leader: Sequence): readonly Sequence[] {
    return leader.followers.length === 0 || this.#isPrefilling(leader) ? NOBODY : this.release(leader);
  }

  /** Those that waited for this leader, whether or not there is anything to share. */
  release(leader: Sequence): readonly Sequence[] {
    if (leader.followers.length === 0) return NOBODY;
    return leader.followers.splice(0).filter((follower) => this.#following.delete(follower));
  }

  /** Throws unless everyone waits for a leader who is on the way. */
  checkIntegrity(): void {
    for (const sequence of this.#following) {
      const isHere = sequence.leader?.followers.includes(sequence) && this.#isPrefilling(sequence.leader);
      if (sequence.state !== "following" || !isHere) {
        throw new Error(`Sequence ${sequence.id} (${sequence.state}) follows nobody who is on the way`);
      }
    }
  }

  /** Whether KV that followers of this sequence could share is still to come. */
  #isPrefilling(leader: Sequence): boolean {
    const numShared = Math.floor((leader.prompt.tokenIds.length - 1) / this.#kvBlockSize) * this.#kvBlockSize;
    return leader.state !== "removed" && leader.numComputed < numShared;
  }
}

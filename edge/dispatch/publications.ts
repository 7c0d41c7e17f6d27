/** Where a job stands in the queue: each time it was published, which attempts may still come of it, whether it is due again. */
import { ATTEMPTS_PER_PUBLICATION, type WireVersion } from "@tessera/shared";

/** One publication of a job. */
export interface Publication {
  /** Attempts of it are base + 1 and up. */
  readonly base: number;
  /** Of its envelope, and of all that is said about it. */
  readonly version: WireVersion;
  /** Sequence number in the stream; null until it is known. */
  streamSeq: number | null;
  /** Whether another worker gets it when one gives it back: it is in the stream still, and not in the queue of that one alone. */
  isForAll: boolean;
}

/** Pure; the dispatcher talks to the stream. */
export class Publications {
  /** Those of which a claim is taken, oldest first. */
  #open: Publication[] = [];
  #nextBase = 0;
  /** Sequence numbers of those that no longer count, to be taken out of the stream. */
  readonly #void: number[] = [];
  #dueReason: string | null = "new";

  /** Why the job has to be published now; null when it has not. */
  get dueReason(): string | null {
    return this.#dueReason;
  }

  get isOpen(): boolean {
    return this.#open.length > 0;
  }

  /** The message in the queue of one worker alone that the job runs by; null where it is in the queue of all. */
  get ownSeq(): number | null {
    const own = this.#open.find(({ isForAll }) => !isForAll);
    return own?.streamSeq ?? null;
  }

  /** Versions that someone has to speak for the job to go on. */
  get openVersions(): WireVersion[] {
    return this.#open.map(({ version }) => version);
  }

  /** Whether a message of the stream is one of the job's. */
  hasSeq(streamSeq: number): boolean {
    return this.#open.some((publication) => publication.streamSeq === streamSeq);
  }

  /** Whether a claim of that attempt counts. */
  has(attempt: number): boolean {
    return this.#find(attempt) !== undefined;
  }

  /** What is out no longer counts; the job has to be published again. */
  makeDue(reason: string): void {
    for (const publication of this.#open.splice(0)) this.#discard(publication);
    this.#dueReason = reason;
  }

  /** The stream lost what was in it; what has been claimed goes on. */
  streamLost(): void {
    for (const publication of this.#open) publication.isForAll = false;
  }

  /** The worker of that attempt gave the job back. */
  givenBack(attempt: number, reason: string): void {
    if (this.#find(attempt)?.isForAll === false) this.makeDue(reason);
  }

  /** Publishes once more, for all workers or for one; until one of them is claimed, all that are out count. */
  begin(version: WireVersion, isForAll = true): Publication {
    this.#dueReason = null;
    const publication = { base: this.#nextBase, version, streamSeq: null, isForAll };
    this.#nextBase += ATTEMPTS_PER_PUBLICATION;
    this.#open.push(publication);
    return publication;
  }

  /** The stream has it. */
  stored(publication: Publication, streamSeq: number): void {
    publication.streamSeq = streamSeq;
    if (!this.#open.includes(publication)) this.#void.push(streamSeq);
  }

  /** The stream does not have it; whether it ever will is not known. */
  failed(publication: Publication): void {
    const index = this.#open.indexOf(publication);
    if (index === -1) return;
    this.#open.splice(index, 1);
    if (!this.#open.some(({ isForAll }) => isForAll)) this.#dueReason ??= "not stored";
  }

  /** The publication of that attempt is the one that counts from now on. */
  claimed(attempt: number): void {
    const claimed = this.#find(attempt);
    for (const publication of this.#open) if (publication !== claimed) this.#discard(publication);
    this.#open = claimed === undefined ? [] : [claimed];
    this.#dueReason = null;
  }

  /** Nothing of the job is wanted any more. */
  close(): void {
    for (const publication of this.#open.splice(0)) this.#discard(publication);
    this.#dueReason = null;
  }

  /** Sequence numbers to take out of the stream; each is told once. */
  takeVoid(): number[] {
    return this.#void.splice(0);
  }

  #find(attempt: number): Publication | undefined {
    return this.#open.find(({ base }) => attempt > base && attempt <= base + ATTEMPTS_PER_PUBLICATION);
  }

  #discard(publication: Publication): void {
    if (publication.streamSeq !== null) this.#void.push(publication.streamSeq);
  }
}

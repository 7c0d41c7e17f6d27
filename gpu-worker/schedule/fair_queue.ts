/**
 * Owns who is admitted next: by priority; then those that were preempted, in order of arrival; then tenants by deficit
 * round robin, each by order of arrival. Tokens are what is shared: a tenant pays for the prompt when a sequence of its
 * is admitted and for each token it generates, and gets a quantum more whenever its turn is over.
 */
import { RankList } from "./rank_list.ts";
import type { Sequence } from "./sequence.ts";

interface Account {
  /** Tokens it may still have in this turn; a debt where it is negative. */
  deficit: number;
  /** Its sequences, waiting or running. */
  numSequences: number;
}

/** Sequences of one priority. */
interface Level {
  readonly priority: number;
  readonly preempted: RankList;
  /** By tenant, in order of turns; none empty. */
  readonly queues: Map<string, RankList>;
}

export class FairQueue {
  readonly #quantum: number;
  readonly #accounts = new Map<string, Account>();
  /** Smallest priority first; none empty. */
  readonly #levels: Level[] = [];
  #length = 0;

  /** @param quantum tokens of a turn */
  constructor(quantum: number) {
    this.#quantum = quantum;
  }

  get length(): number {
    return this.#length;
  }

  /** Tenants that something is known of. */
  get numTenants(): number {
    return this.#accounts.size;
  }

  *[Symbol.iterator](): Generator<Sequence> {
    for (const { preempted, queues } of this.#levels) {
      yield* preempted;
      for (const queue of queues.values()) yield* queue;
    }
  }

  /** A sequence has come; to be paired with `leave`. */
  enter(sequence: Sequence): void {
    const account = this.#accounts.get(sequence.tenant);
    if (account === undefined) this.#accounts.set(sequence.tenant, { deficit: 0, numSequences: 1 });
    else account.numSequences += 1;
  }

  /** A sequence has gone for good. */
  leave(sequence: Sequence): void {
    const account = this.#accounts.get(sequence.tenant)!;
    account.numSequences -= 1;
    if (account.numSequences === 0) this.#accounts.delete(sequence.tenant);
  }

  /** Takes tokens off what a tenant may have. */
  charge(sequence: Sequence, numTokens: number): void {
    const account = this.#accounts.get(sequence.tenant);
    if (account !== undefined) account.deficit -= numTokens;
  }

  add(sequence: Sequence): void {
    const level = this.#levelOf(sequence.priority);
    let list = level.preempted;
    if (!sequence.hasRun) {
      list = level.queues.get(sequence.tenant) ?? new RankList();
      level.queues.set(sequence.tenant, list);
    }
    list.add(sequence);
    this.#length += 1;
  }

  /** Takes a sequence out, if it waits here. */
  delete(sequence: Sequence): boolean {
    const at = this.#levels.findIndex(({ priority }) => priority === sequence.priority);
    const level = this.#levels[at];
    if (level === undefined) return false;
    const queue = sequence.hasRun ? level.preempted : level.queues.get(sequence.tenant);
    if (queue === undefined || !queue.delete(sequence)) return false;
    this.#length -= 1;
    if (!sequence.hasRun && queue.length === 0) {
      level.queues.delete(sequence.tenant);
      // Nothing is saved up for later; a debt stays for as long as the tenant has sequences.
      const account = this.#accounts.get(sequence.tenant);
      if (account !== undefined) account.deficit = Math.min(account.deficit, 0);
    }
    if (level.preempted.length === 0 && level.queues.size === 0) this.#levels.splice(at, 1);
    return true;
  }

  /** Whose turn it is; the same until something changes. */
  peek(): Sequence | undefined {
    const level = this.#levels[0];
    if (level === undefined) return undefined;
    if (level.preempted.first !== undefined) return level.preempted.first;
    for (;;) {
      const [tenant, queue] = level.queues.entries().next().value!;
      const account = this.#accounts.get(tenant)!;
      // What was had while nobody else waited is nobody's loss.
      if (level.queues.size === 1) account.deficit = Math.max(account.deficit, 1);
      if (account.deficit > 0) return queue.first;
      account.deficit += this.#quantum;
      level.queues.delete(tenant);
      level.queues.set(tenant, queue);
    }
  }

  /** Throws unless the books agree with what waits here and the sequences given, which run. */
  checkIntegrity(others: Iterable<Sequence>): void {
    const counts = new Map<string, number>();
    for (const { tenant } of [...this, ...others]) counts.set(tenant, (counts.get(tenant) ?? 0) + 1);
    for (const [tenant, { numSequences }] of this.#accounts) {
      if (counts.get(tenant) !== numSequences) {
        throw new Error(
          `Tenant ${tenant} has ${numSequences} sequences on its account, ${counts.get(tenant)} in truth`,
        );
      }
    }
    if (counts.size !== this.#accounts.size) throw new Error(`${counts.size} tenants, ${this.#accounts.size} accounts`);
    for (const { preempted, queues } of this.#levels) {
      preempted.checkIntegrity();
      for (const queue of queues.values()) queue.checkIntegrity();
    }
  }

  #levelOf(priority: number): Level {
    let at = this.#levels.findIndex((level) => level.priority >= priority);
    if (at === -1) at = this.#levels.length;
    if (this.#levels[at]?.priority !== priority) {
      this.#levels.splice(at, 0, { priority, preempted: new RankList(), queues: new Map() });
    }
    return this.#levels[at]!;
  }
}

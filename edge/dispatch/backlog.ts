/**
 * Which of the jobs that wait at this edge goes to the bus next: the smallest priority; in it the tenant that has had the
 * fewest tokens. Few may wait in the stream, because there the order is fixed. Pure; no clock, no bus.
 */
import { type Job, JOB_CLASSES, jobClass, USUAL_ANSWER_TOKENS } from "@tessera/shared";

/** What the order is made of. */
export interface Turn {
  readonly model: string;
  readonly priority: number;
  readonly tenant: string;
  /** Tokens it is taken to need. */
  readonly cost: number;
}

/** Jobs of one model and priority that wait, by tenant, each in order of arrival; no list is empty. */
type Level<J> = Map<string, J[]>;

/** Jobs of one model. */
interface Line<J> {
  /** By priority. */
  readonly levels: Map<number, Level<J>>;
  /** Sent, and not claimed yet. */
  readonly sent: Set<J>;
  /** Tokens that each tenant has had, as far as it counts: from a start that moves with whose turn it is. */
  readonly had: Map<string, number>;
  /** What whose turn it was had had then; who comes anew has had no less. */
  clock: number;
}

export class Backlog<J extends { readonly turn: Turn }> {
  readonly #lines = new Map<string, Line<J>>();
  readonly #numAhead: (model: string) => number;

  /** @param numAhead jobs of a model that may be sent and unclaimed */
  constructor(numAhead: (model: string) => number) {
    this.#numAhead = numAhead;
  }

  get numWaiting(): number {
    let num = 0;
    for (const { levels } of this.#lines.values()) {
      for (const level of levels.values()) for (const queue of level.values()) num += queue.length;
    }
    return num;
  }

  /** Whether a job waits here. */
  has(job: J): boolean {
    const { model, priority, tenant } = job.turn;
    return this.#lines.get(model)?.levels.get(priority)?.get(tenant)?.includes(job) ?? false;
  }

  add(job: J): void {
    const { model, priority, tenant } = job.turn;
    const line = this.#lines.get(model) ?? { levels: new Map(), sent: new Set(), had: new Map(), clock: 0 };
    this.#lines.set(model, line);
    const level: Level<J> = line.levels.get(priority) ?? new Map();
    line.levels.set(priority, level);
    const queue = level.get(tenant);
    if (queue !== undefined) queue.push(job);
    else level.set(tenant, [job]);
    line.had.set(tenant, Math.max(line.had.get(tenant) ?? 0, line.clock));
  }

  /** A job was claimed, or is over: it no longer waits, here or in the stream. Idempotent. */
  leave(job: J): void {
    const { model, priority, tenant } = job.turn;
    const line = this.#lines.get(model);
    if (line === undefined) return;
    line.sent.delete(job);
    const queue = line.levels.get(priority)?.get(tenant);
    const at = queue?.indexOf(job) ?? -1;
    if (at !== -1) this.#take(line, job, at);
    // Nothing is saved up or owed once nobody waits.
    if (line.sent.size === 0 && line.levels.size === 0) this.#lines.delete(model);
  }

  /** The next job that may go to the bus now; it counts as sent. */
  next(): J | null {
    for (const [model, line] of this.#lines) {
      const job = this.#choose(line, this.#numAhead(model));
      if (job === null) continue;
      const { tenant, cost } = job.turn;
      const had = line.had.get(tenant)!;
      line.clock = had;
      line.had.set(tenant, had + cost);
      this.#take(line, job, 0);
      line.sent.add(job);
      return job;
    }
    return null;
  }

  #choose(line: Line<J>, numAhead: number): J | null {
    for (const ofClass of JOB_CLASSES) {
      // The first in rank of the class decides for it; later classes have queues of their own in the stream.
      const priority = Math.min(...line.levels.keys().filter((each) => jobClass(each) === ofClass));
      const level = line.levels.get(priority);
      if (level === undefined) continue;
      const numSent = line.sent.values().filter(({ turn }) => isNotAfter(turn.priority, priority))
        .reduce((num) => num + 1, 0);
      const [tenant] = [...level.keys()].sort((a, b) => line.had.get(a)! - line.had.get(b)!);
      const isNew = line.had.get(tenant!)! <= line.clock &&
        !line.sent.values().some(({ turn }) => turn.tenant === tenant);
      // Who has nothing in the stream, and is nobody's debtor, does not wait for what others have there.
      if (numSent < numAhead || isNew) return level.get(tenant!)![0]!;
    }
    return null;
  }

  #take({ levels }: Line<J>, { turn: { priority, tenant } }: J, at: number): void {
    const level = levels.get(priority)!;
    const queue = level.get(tenant)!;
    queue.splice(at, 1);
    if (queue.length === 0) level.delete(tenant);
    if (level.size === 0) levels.delete(priority);
  }
}

/** Whether the class of `priority` is that of the other or an earlier one. */
function isNotAfter(priority: number, other: number): boolean {
  return JOB_CLASSES.indexOf(jobClass(priority)) <= JOB_CLASSES.indexOf(jobClass(other));
}

/** Characters of text that make a token, about. */
const CHARS_PER_TOKEN = 4;

/** What a job is to the order. */
export function turnOfJob({ model, priority, tenant, messages, images, sampling }: Job, tokensPerTile: number): Turn {
  let numChars = 0;
  for (const { parts } of messages) for (const part of parts) numChars += part.type === "text" ? part.text.length : 0;
  const numTiles = images.reduce((num, { tiles }) => num + tiles.length, 0);
  const answer = sampling.n * Math.min(sampling.max_tokens ?? USUAL_ANSWER_TOKENS, USUAL_ANSWER_TOKENS);
  const cost = Math.ceil(numChars / CHARS_PER_TOKEN) + numTiles * tokensPerTile + answer;
  return { model, priority, tenant, cost };
}

/** Hears how jobs end: one consumer for all that an edge waits for, made for the first of them, deleted after the last. */
import { DeliverPolicy, jetstream, type JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { decodeMessage, isFinal, JobRecord, JOBS_BUCKET } from "@tessera/shared";

/** The state in which a job ended; null: it was removed; `unknown`: changes were missed, so look. */
export type JobEnd = JobRecord | null | "unknown";

export interface AwaitedEnd {
  readonly ended: Promise<JobEnd>;
  /** To be called by whoever waited, however it came out. */
  readonly release: () => void;
}

interface Following {
  readonly nc: NatsConnection;
  /** Resolves, when all changes are heard, to what ends it. */
  readonly begun: Promise<() => void>;
}

const SUBJECTS = `$KV.${JOBS_BUCKET}.`;

export class JobEnds {
  /** By job. */
  readonly #waiting = new Map<string, Set<(end: JobEnd) => void>>();
  #following: Following | null = null;

  /**
   * Waits for a job's end. When this resolves, every change from then on is heard: a state read now misses nothing.
   * @throws Error when the bus does not answer
   */
  async await(nc: NatsConnection, jobId: string): Promise<AwaitedEnd> {
    const { promise: ended, resolve } = Promise.withResolvers<JobEnd>();
    const ofJob = this.#waiting.get(jobId) ?? new Set();
    this.#waiting.set(jobId, ofJob.add(resolve));
    const release = () => {
      ofJob.delete(resolve);
      if (ofJob.size === 0 && this.#waiting.get(jobId) === ofJob) this.#waiting.delete(jobId);
      if (this.#waiting.size === 0) this.#stop();
    };
    const following = this.#following?.nc === nc ? this.#following : this.#follow(nc);
    try {
      await following.begun;
    } catch (error) {
      if (this.#following === following) this.#following = null;
      release();
      throw error;
    }
    return { ended, release };
  }

  /** After a reconnection: what was told meanwhile is lost. */
  restart(): void {
    this.#stop();
    for (const ofJob of this.#waiting.values()) for (const resolve of ofJob) resolve("unknown");
  }

  #follow(nc: NatsConnection): Following {
    this.#stop();
    const following: Following = { nc, begun: this.#begin(nc, () => this.#following === following && this.restart()) };
    return this.#following = following;
  }

  #stop(): void {
    const following = this.#following;
    this.#following = null;
    following?.begun.then((end) => end(), () => {});
  }

  async #begin(nc: NatsConnection, onLost: () => void): Promise<() => void> {
    const consumer = await jetstream(nc).consumers.getPushConsumer(`KV_${JOBS_BUCKET}`, {
      // A list of one would be asked for on a subject that edges have no right to.
      filter_subjects: `${SUBJECTS}>`,
      deliver_policy: DeliverPolicy.New,
    });
    const messages = await consumer.consume({ callback: (message) => this.#hear(message) });
    void messages.closed().then(onLost, onLost);
    return () => {
      messages.stop();
      // Left alone it would stay for minutes, and a stream has only so many.
      consumer.delete().catch(() => {});
    };
  }

  #hear({ subject, data, headers }: JsMsg): void {
    const ofJob = this.#waiting.get(subject.slice(SUBJECTS.length));
    if (ofJob === undefined) return;
    const end = endIn(data, headers?.has("KV-Operation") ?? false);
    if (end !== undefined) { for (const resolve of ofJob) resolve(end); }
  }
}

/** Undefined while the job has not ended. */
function endIn(data: Uint8Array, isRemoved: boolean): JobEnd | undefined {
  if (isRemoved) return null;
  try {
    const record = decodeMessage(JobRecord, data);
    return isFinal(record.status) ? record : undefined;
  } catch {
    // Whoever waits reads it as well, and says what is wrong with it.
    return "unknown";
  }
}

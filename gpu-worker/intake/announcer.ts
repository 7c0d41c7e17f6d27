/** Owns the worker's announcement in the workers bucket: put, renewed by heartbeat, taken back at the end. */
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import { type Announcement, encodeMessage, HEARTBEAT_MS, type Logger, WORKERS_BUCKET_CONFIG } from "@tessera/shared";

export interface AnnouncerOptions {
  readonly nc: NatsConnection;
  readonly workerId: string;
  readonly describe: () => Announcement;
  /** Called after each. */
  readonly onAnnounced: () => void;
  readonly log: Logger;
}

export class Announcer {
  readonly #options: AnnouncerOptions;
  #bucket: KV | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** One put at a time, in order. */
  #last: Promise<void> = Promise.resolve();
  #numQueued = 0;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
  }

  /** Announces and goes on doing so. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => {
      // While a put waits for a connection, another would only queue behind it.
      if (this.#numQueued === 0) void this.announce();
    }, HEARTBEAT_MS);
    await this.announce();
  }

  /** Announces now; a failure is logged and made good by the next heartbeat. */
  announce(): Promise<void> {
    return this.#enqueue(async (bucket) => {
      const { nc, workerId, describe, onAnnounced } = this.#options;
      await bucket.put(workerId, encodeMessage(describe(), nc.info?.max_payload ?? 1_048_576));
      onAnnounced();
    });
  }

  /** Takes the announcement back. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#enqueue((bucket) => bucket.delete(this.#options.workerId));
  }

  #enqueue(action: (bucket: KV) => Promise<unknown>): Promise<void> {
    const { nc, log } = this.#options;
    this.#numQueued += 1;
    return this.#last = this.#last.then(async () => {
      try {
        if (nc.isClosed()) return;
        this.#bucket ??= await new Kvm(nc).create(WORKERS_BUCKET_CONFIG.name, { ...WORKERS_BUCKET_CONFIG.options });
        await action(this.#bucket);
      } catch (error) {
        this.#bucket = null;
        log.warn("announcement_failed", { error });
      } finally {
        this.#numQueued -= 1;
      }
    });
  }
}

/** Owns ended jobs whose last event the server may not have had: acknowledged when it certainly has. */
import type { NatsConnection } from "@nats-io/nats-core";
import { SETTLE_RETRY_MS } from "@tessera/shared";
import type { Link } from "./link.ts";
import type { LiveJob } from "./live_job.ts";

export class Settling {
  readonly #nc: NatsConnection;
  readonly #link: Link;
  readonly #pending = new Set<Promise<void>>();

  constructor(nc: NatsConnection, link: Link) {
    this.#nc = nc;
    this.#link = link;
  }

  /** Acknowledges the job's delivery once its last event has arrived, however often the connection breaks before. */
  add(job: LiveJob): void {
    const settled = this.#settle(job);
    this.#pending.add(settled);
    void settled.finally(() => this.#pending.delete(settled));
  }

  /** Waits until all is settled, `timeoutMs` at most. */
  async end(timeoutMs: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise<void>((resolve) => timer = setTimeout(resolve, timeoutMs));
    await Promise.race([Promise.all(this.#pending), timeout]);
    clearTimeout(timer);
  }

  async #settle(job: LiveJob): Promise<void> {
    const events = job.grant?.events;
    // A flush in the middle of a turn would hold up what is published after it.
    await Promise.resolve();
    while (!this.#nc.isClosed()) {
      try {
        await events?.confirm();
        return job.channel.mayAcknowledge(job) ? job.delivery.ack() : undefined;
      } catch {
        await Promise.all([this.#link.whenUp(), new Promise((resolve) => setTimeout(resolve, SETTLE_RETRY_MS))]);
        events?.repeat();
      }
    }
  }
}

/** Owns the listener for cancelled jobs, and a bounded memory of those that are not (yet) here. */
import type { NatsConnection, Subscription } from "@nats-io/nats-core";
import { CANCEL_WILDCARD, jobIdOf, MAX_TOMBSTONES } from "@tessera/shared";

export class Cancellations {
  /** Oldest first. */
  readonly #tombstones = new Set<string>();
  readonly #subscription: Subscription;

  /** @param onCancel told of each; returns whether the job was here */
  constructor(nc: NatsConnection, onCancel: (jobId: string) => boolean) {
    this.#subscription = nc.subscribe(CANCEL_WILDCARD, {
      callback: (error, msg) => {
        if (error !== null) return;
        const jobId = jobIdOf(msg.subject);
        if (!onCancel(jobId)) this.#remember(jobId);
      },
    });
  }

  has(jobId: string): boolean {
    return this.#tombstones.has(jobId);
  }

  stop(): void {
    this.#subscription.unsubscribe();
  }

  #remember(jobId: string): void {
    this.#tombstones.delete(jobId);
    this.#tombstones.add(jobId);
    const [oldest] = this.#tombstones;
    if (this.#tombstones.size > MAX_TOMBSTONES) this.#tombstones.delete(oldest!);
  }
}

/** Owns the knowledge of how many interactive jobs wait on the bus that this worker could take. */
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { JOB_CLASSES, LIVE_STREAM, liveConsumer, QUEUE_DEPTH_TIMEOUT_MS, workerConsumer } from "@tessera/shared";

export class QueueDepth {
  readonly #nc: NatsConnection;
  readonly #consumers: readonly string[];
  #numQueued = 0;
  #isAsking = false;

  /** @param hasOwn whether the worker has a queue of its own as well */
  constructor(nc: NatsConnection, model: string, workerId: string, hasOwn: boolean) {
    this.#nc = nc;
    const shared = JOB_CLASSES.map((ofClass) => liveConsumer(model, ofClass));
    this.#consumers = hasOwn ? [...shared, workerConsumer(workerId)] : shared;
  }

  /** As it was when it was asked last. */
  get numQueued(): number {
    return this.#numQueued;
  }

  /** Asks the server, unless it is being asked. What it does not answer stays as it was. */
  async refresh(): Promise<void> {
    if (this.#isAsking || this.#nc.isClosed()) return;
    this.#isAsking = true;
    try {
      const { consumers } = await jetstreamManager(this.#nc, { checkAPI: false, timeout: QUEUE_DEPTH_TIMEOUT_MS });
      const all = await Promise.all(this.#consumers.map((name) => consumers.info(LIVE_STREAM, name)));
      this.#numQueued = all.reduce((sum, { num_pending }) => sum + num_pending, 0);
    } catch {
      // Asked again with the next announcement.
    } finally {
      this.#isAsking = false;
    }
  }
}

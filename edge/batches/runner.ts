/** Takes batches from the queue and runs them: one edge each, another where that one is gone. */
import { type Consumer, jetstream, jetstreamManager, type JsMsg } from "@nats-io/jetstream";
import {
  BATCH_HEARTBEAT_MS,
  BATCHES_CONSUMER_CONFIG,
  BATCHES_PER_EDGE,
  BATCHES_STREAM,
  BATCHES_STREAM_CONFIG,
  ensureStream,
} from "@tessera/shared";
import type { EdgeDeps } from "../deps.ts";
import { PerConnection } from "../dispatch/per_connection.ts";
import { sleep, within } from "../wait.ts";
import { runBatch } from "./run_batch.ts";

const PULL_MS = 5_000;
const RETRY_MS = 1_000;
/** How long a closing edge waits for its batches to let go. */
const CLOSE_MS = 3_000;

export class BatchRunner {
  readonly #deps: EdgeDeps;
  readonly #closing = new AbortController();
  readonly #lanes: Promise<void>[];

  constructor(deps: EdgeDeps) {
    this.#deps = deps;
    const consumer = new PerConnection(deps.bus, async (nc) => {
      const manager = await jetstreamManager(nc, { checkAPI: false });
      await ensureStream(manager, BATCHES_STREAM_CONFIG);
      await manager.consumers.add(BATCHES_STREAM, BATCHES_CONSUMER_CONFIG);
      return await jetstream(nc).consumers.get(BATCHES_STREAM, BATCHES_CONSUMER_CONFIG.durable_name);
    });
    this.#lanes = Array.from({ length: BATCHES_PER_EDGE }, () => this.#lane(consumer));
  }

  /** Leaves what runs to other edges. */
  async close(): Promise<void> {
    this.#closing.abort();
    await within(Promise.all(this.#lanes), CLOSE_MS);
  }

  async #lane(consumer: PerConnection<Consumer>): Promise<void> {
    const { bus, log } = this.#deps;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      if (!bus.isConnected) {
        await sleep(RETRY_MS, signal);
        continue;
      }
      try {
        const pull = (await consumer.get()).next({ expires: PULL_MS });
        // Whoever closes does not wait for a batch to come.
        const message = await Promise.race([pull, sleep(PULL_MS * 2, signal).then(() => null)]);
        if (message === null) {
          void pull.then((late) => late?.nak(), () => {});
          continue;
        }
        await this.#run(message);
      } catch (error) {
        if (!signal.aborted) log.warn("batch_queue_failed", { error });
        await sleep(RETRY_MS, signal);
      }
    }
  }

  async #run(message: JsMsg): Promise<void> {
    const { log } = this.#deps;
    const [owner, id] = message.subject.split(".").slice(-2) as [string, string];
    const lost = new AbortController();
    const signal = AbortSignal.any([this.#closing.signal, lost.signal]);
    const heartbeat = setInterval(() => message.working(), BATCH_HEARTBEAT_MS);
    try {
      log.info("batch_begun", { batch_id: id, delivery: message.info.deliveryCount });
      await runBatch(this.#deps, owner, id, signal);
      if (signal.aborted) message.nak();
      else {
        message.ack();
        log.info("batch_ended", { batch_id: id });
      }
    } catch (error) {
      log.error("batch_interrupted", { batch_id: id, error });
      message.nak(RETRY_MS);
    } finally {
      clearInterval(heartbeat);
    }
  }
}

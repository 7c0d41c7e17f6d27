/** Webhooks as an edge sees them: what became of each, one sent again, one sent to try a receiver. */
import { type DeliveryRecord, newId, TesseraError, WEBHOOK_TIMEOUT_MS, type WebhookTarget } from "@tessera/shared";
import type { Bus } from "../dispatch/bus.ts";
import { PerConnection } from "../dispatch/per_connection.ts";
import { sleep } from "../wait.ts";
import { type DeadPage, WebhookStore } from "./webhook_store.ts";

/** How often the end of a test is looked for, and how long: an attempt, and a deliverer to take it. */
const POLL_MS = 50;
const TEST_WAIT_MS = WEBHOOK_TIMEOUT_MS + 5_000;

export class Webhooks {
  readonly #store: PerConnection<WebhookStore>;

  constructor(bus: Bus) {
    this.#store = new PerConnection(bus, WebhookStore.open);
  }

  /** Those of a caption, in the order in which they came to pass. */
  async list(owner: string, captionId: string): Promise<DeliveryRecord[]> {
    const records = await (await this.#store.get()).list(captionId);
    return records.filter(({ dispatch }) => dispatch.owner === owner);
  }

  /** @throws TesseraError `not_found` */
  async redeliver(owner: string, captionId: string, deliveryId: string): Promise<DeliveryRecord> {
    const record = await (await this.#store.get()).redeliver(owner, captionId, deliveryId);
    if (record === null) throw new TesseraError("not_found", { message: "No such delivery.", param: "delivery_id" });
    return record;
  }

  /** Those given up, the latest first. */
  async dead(owner: string, limit: number, after: string | null): Promise<DeadPage> {
    return await (await this.#store.get()).dead(owner, limit, after);
  }

  /** Forgets all of a caption; what is on its way is not sent. */
  async forget(captionId: string): Promise<void> {
    await (await this.#store.get()).forget(captionId);
  }

  /** Sends one event, once, and waits for what became of it: `pending` where no deliverer takes it. Nothing is kept. */
  async test(owner: string, target: WebhookTarget, signal: AbortSignal): Promise<DeliveryRecord> {
    const store = await this.#store.get();
    const subject_id = newId("test");
    const id = `msg_${subject_id}`;
    const { url, body } = target;
    try {
      const at_ms = Date.now();
      await store.send({ v: 1, id, type: "webhook.test", owner, subject_id, job_id: null, url, body, at_ms, round: 0 });
      const end = at_ms + TEST_WAIT_MS;
      let record = await store.read(subject_id, id);
      while (record?.state === "pending" && Date.now() < end && !signal.aborted) {
        await sleep(POLL_MS, signal);
        record = await store.read(subject_id, id);
      }
      if (record === null) throw new TesseraError("internal_error", { diagnostic: `The record of ${id} is gone` });
      return record;
    } finally {
      await store.forget(subject_id);
    }
  }
}

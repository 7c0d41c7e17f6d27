/** Captions with webhooks on a real server: a deliverer, jobs that end as a test wants, and what became of deliveries. */
import { connect } from "@nats-io/transport-node";
import { createLogger, type DeliveryRecord, Job, type JobWebhook, type LogFields, newListId } from "@tessera/shared";
import assert from "node:assert/strict";
import type { CaptionRecord } from "../../edge/captions/caption_record.ts";
import { Captions as CaptionStore } from "../../edge/captions/captions.ts";
import { Bus, type BusOptions } from "../../edge/dispatch/bus.ts";
import { DurableJobs } from "../../edge/jobs/durable_jobs.ts";
import { OutboundRules } from "../../edge/outbound/rules.ts";
import type { DelivererOptions } from "../../edge/webhooks/deliverer.ts";
import { startDeliveryService } from "../../edge/webhooks/delivery_service.ts";
import { parseSecrets } from "../../edge/webhooks/signature.ts";
import { WebhookStore } from "../../edge/webhooks/webhook_store.ts";
import { until } from "../support/fleet.ts";

export const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
export const OLD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

export interface Captions {
  readonly jobs: DurableJobs;
  readonly store: WebhookStore;
  /** Lines the deliverer logged. */
  readonly lines: LogFields[];
  /** Queues a caption that goes to that URL. */
  submit(url: string, webhook?: Partial<JobWebhook>, text?: string, maxTokens?: number): Promise<string>;
  /** The same, and ends it at once. */
  finish(url: string, webhook?: Partial<JobWebhook>): Promise<string>;
  deliveries(captionId: string): Promise<DeliveryRecord[]>;
  /** Waits until all deliveries of a caption are through, at least one. */
  settled(captionId: string): Promise<DeliveryRecord[]>;
  close(): Promise<void>;
}

type Place = Pick<BusOptions, "url" | "access">;

/**
 * @param deliverer null: none in this process
 * @param placeOf where each connects, and as whom
 */
export async function openCaptions(
  natsUrl: string,
  deliverer: Partial<DelivererOptions> & { readonly waitsMs?: readonly number[] } | null,
  placeOf: (part: "edge" | "deliverer" | "operator") => Place = () => ({ url: natsUrl }),
): Promise<Captions> {
  const lines: LogFields[] = [];
  const log = createLogger({ level: "debug", format: "json", sink: (line) => lines.push(JSON.parse(line)) });
  const bus = new Bus({ ...placeOf("edge"), name: "edge", log });
  const theirs = new Bus({ ...placeOf("deliverer"), name: "deliverer", log });
  const service = deliverer === null ? null : startDeliveryService(theirs, {
    secrets: parseSecrets(`${SECRET}, ${OLD_SECRET}`),
    outbound: { rules: new OutboundRules({ allowPrivate: true }) },
    log,
    schedule: { waitsMs: deliverer.waitsMs ?? [50, 50], random: () => 0.5 },
    ...deliverer,
  });
  bus.start();
  if (service !== null) theirs.start();
  await until(() => bus.isConnected, "the bus");
  const nc = await connect({
    ...connectionOf(placeOf("operator").url),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 200,
  });
  const store = await WebhookStore.open(nc);
  const jobs = new DurableJobs(bus);
  const captions = new CaptionStore(bus, jobs, 3_600_000, {
    forgetDeliveries: (id) => store.forget(id),
    countUsage: async () => {},
  });
  const submit = async (url: string, webhook: Partial<JobWebhook> = {}, text = "a caption", maxTokens = 12) => {
    const id = newListId("cap");
    const job = Job.parse({
      v: 1,
      id,
      model: "fake",
      edge_id: "none",
      created_ms: Date.now(),
      messages: [{ role: "user", parts: [{ type: "text", text }] }],
      images: [],
      sampling: { temperature: 1, top_p: 1, top_k: 0, seed: 1, max_tokens: maxTokens, stop: [] },
    });
    const target = { url, events: ["completed"], body: "full", owner: "somebody", caption_id: id, ...webhook } as const;
    const caption: CaptionRecord = {
      v: 1,
      id,
      model: "fake",
      created_ms: job.created_ms,
      media: [],
      prompt: text,
      preset: null,
      language: null,
      metadata: { order: "7" },
      webhook: null,
      images: [],
      timings: {},
      key_id: null,
      parts: null,
      is_taken: true,
      is_counted: false,
    };
    await captions.create(target.owner, caption, () => jobs.submit(job, [], { webhook: target as JobWebhook }));
    return id;
  };
  const deliveries = (captionId: string) => store.list(captionId);
  return {
    jobs,
    store,
    lines,
    submit,
    deliveries,
    finish: async (url, webhook) => {
      const id = await submit(url, webhook);
      await jobs.cancel(id);
      return id;
    },
    settled: async (captionId) => {
      let found: DeliveryRecord[] = [];
      await until(
        async () => {
          found = await deliveries(captionId);
          return found.length > 0 && found.every(({ state }) => state !== "pending");
        },
        `the deliveries of ${captionId}`,
        30_000,
      );
      return found;
    },
    close: async () => {
      await service?.close(2_000);
      if (service !== null) await theirs.close();
      await bus.close();
      await nc.close();
    },
  };
}

/** State and errors of each attempt, in short. */
export function storyOf({ state, attempts }: DeliveryRecord): readonly (string | number | null)[] {
  return [state, ...attempts.map(({ status, error }) => error ?? status)];
}

export function assertStories(
  records: readonly DeliveryRecord[],
  ...stories: readonly (string | number | null)[][]
): void {
  assert.deepEqual(records.map(storyOf), stories);
}

function connectionOf(address: string) {
  const { username, password, host } = new URL(address);
  return { servers: host, ...(username === "" ? {} : { user: username, pass: password }) };
}

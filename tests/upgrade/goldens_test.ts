/**
 * Messages of version 1 as the release that introduced it sent them: read today, written back without loss, and still
 * sent in the same bytes to whoever speaks that version.
 */
import {
  Announcement,
  ApiKey,
  Claim,
  ClaimReply,
  DeadLetter,
  decodeMessage,
  DeliveryRecord,
  encodeMessage,
  isCompatible,
  Job,
  JobEvent,
  JobNews,
  JobRecord,
  parseTile,
  TesseraError,
  tileHeaders,
  TokenizeReply,
  TokenizeRequest,
  versionsOf,
  WebhookDispatch,
} from "@tessera/shared";
import type { NatsConnection } from "@nats-io/nats-core";
import assert from "node:assert/strict";
import type { z } from "zod";
import { BatchRecord } from "../../edge/batches/batch_record.ts";
import { CaptionRecord } from "../../edge/captions/caption_record.ts";
import { RunningJob } from "../../edge/dispatch/running_job.ts";
import { FileRecord } from "../../edge/files/file_record.ts";
import { IdempotencyEntry } from "../../edge/resume/idempotency.ts";
import { requestClaim } from "../../gpu-worker/intake/claim.ts";
import { EventOutbox } from "../../gpu-worker/publish/event_outbox.ts";
import { EventWriter } from "../../gpu-worker/publish/event_writer.ts";

/** By the beginning of a golden's name; null: no schema, looked at below. */
const SCHEMAS: Readonly<Record<string, z.ZodType | null>> = {
  announcement: Announcement,
  api_key: ApiKey,
  batch_record: BatchRecord,
  batch_result: null,
  caption_record: CaptionRecord,
  claim: Claim,
  claim_reply: ClaimReply,
  dead_letter: DeadLetter,
  delivery_record: DeliveryRecord,
  event: JobEvent,
  file_record: FileRecord,
  idempotency_entry: IdempotencyEntry,
  job: Job,
  job_news: JobNews,
  job_record: JobRecord,
  tile_headers: null,
  tokenize_reply: TokenizeReply,
  tokenize_request: TokenizeRequest,
  webhook_dispatch: WebhookDispatch,
};

const folder = new URL("./goldens/v1/", import.meta.url);
const goldens = new Map<string, Uint8Array>();
for await (const { name } of Deno.readDir(folder)) {
  goldens.set(name.replace(/\.json$/, ""), await Deno.readFile(new URL(name, folder)));
}
const golden = (name: string): Uint8Array => goldens.get(name)!;
const jsonOf = (bytes: Uint8Array | string) =>
  JSON.parse(typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes));
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

Deno.test("goldens of version 1: one of every kind", () => {
  const kinds = new Set([...goldens.keys()].map((name) => name.split(".")[0]!));
  assert.deepEqual([...kinds].sort(), Object.keys(SCHEMAS).sort());
});

for (const [name, bytes] of [...goldens].sort()) {
  const schema = SCHEMAS[name.split(".")[0]!];
  if (!schema) continue;
  Deno.test(`goldens of version 1: ${name} is read, and nothing of it is lost when it is written back`, () => {
    const sent = jsonOf(bytes);
    const written = jsonOf(encodeMessage(decodeMessage(schema, bytes), 1_000_000));
    for (const [field, value] of Object.entries(sent)) assert.deepEqual(written[field], value, field);
    // What a release to come adds is no reason to refuse a message.
    decodeMessage(schema, encodeMessage({ ...sent, of_a_later_release: { any: "thing" } }, 1_000_000));
  });
}

Deno.test("goldens of version 1: what is written back keeps what a later release has put there", () => {
  for (
    const name of ["job_record.processing", "caption_record", "batch_record.in_progress", "delivery_record", "api_key"]
  ) {
    const schema = SCHEMAS[name.split(".")[0]!]!;
    const record = { ...jsonOf(golden(name)), of_a_later_release: { any: "thing" } };
    const read = decodeMessage(schema, encodeMessage(record, 1_000_000)) as Record<string, unknown>;
    assert.deepEqual(read["of_a_later_release"], { any: "thing" }, name);
  }
});

Deno.test("goldens of version 1: a worker that announces no versions is talked to in the first", () => {
  const announcement = decodeMessage(Announcement, golden("announcement"));
  assert.deepEqual(versionsOf(announcement), [1]);
  assert.ok(isCompatible(versionsOf(announcement)));
});

Deno.test("goldens of version 1: tiles say what they are in the same headers", () => {
  const sent = jsonOf(golden("tile_headers")) as Record<string, string>;
  const [size] = sent["Tessera-Tile-Shape"]!.split(",").map(Number) as [number];
  const tile = parseTile((name) => sent[name], new Uint8Array(size * size * 3), size);
  assert.deepEqual(Object.fromEntries(tileHeaders(tile)), sent);
});

Deno.test("goldens of version 1: events are the same bytes", () => {
  const names = ["tokens", "tokens.logprobs", "choice_done", "done", "error", "progress.handed_over"];
  for (const name of names) {
    const event = jsonOf(golden(`event.${name}`)) as JobEvent;
    const published: string[] = [];
    const nc = {
      publish: (_subject: string, data: Uint8Array | string) =>
        void published.push(typeof data === "string" ? data : textOf(data)),
      isClosed: () => false,
    } as unknown as NatsConnection;
    const { choice = 0, seq = 0 } = event as { choice?: number; seq?: number };
    const writer = new EventWriter({
      nc,
      outbox: new EventOutbox(nc),
      job: { v: 1, id: "job-1", edge_id: "edge-1" },
      attempt: event.attempt,
      firstSeqs: Array.from({ length: choice + 1 }, (_, i) => i === choice ? seq : 0),
    });
    if (event.type === "tokens") writer.tokens(event.ids, event.text, choice, event.logprobs);
    if (event.type === "choice_done") writer.choiceDone(choice, event.text, event.finish_reason);
    if (event.type === "done") writer.done(event.text, event.finish_reason, event.usage, event.timings);
    if (event.type === "error") writer.error(new TesseraError(event.code, event));
    if (event.type === "progress") writer.handOver();
    assert.deepEqual(published, [textOf(golden(`event.${name}`))]);
  }
});

Deno.test("goldens of version 1: claims and their answers are the same bytes", async () => {
  const claim = jsonOf(golden("claim")) as Claim;
  const asked: Uint8Array[] = [];
  const nc = {
    request: (_subject: string, data: Uint8Array) => {
      asked.push(data);
      return Promise.resolve({ data: golden("claim_reply") });
    },
  } as unknown as NatsConnection;
  const { job_id, worker_id: workerId, attempt, want, trial } = claim;
  const job = { v: 1, id: job_id, edge_id: "edge-1" } as const;
  const outcome = await requestClaim(nc, { job, workerId, attempt, want, isTrial: trial ?? false }, 1_000);
  assert.deepEqual([asked.map(textOf), outcome.granted], [[textOf(golden("claim"))], true]);

  const granted = jsonOf(golden("claim_reply"));
  const running = new RunningJob({
    job: { ...decodeMessage(Job, golden("job")), id: job_id },
    tiles: claim.want.map((hash) => ({ hash, size: 1, pixels: new Uint8Array(3) })),
    turn: {} as RunningJob["turn"],
    deadlineAt: performance.now() + granted.remaining_ms,
    parent: undefined as unknown as RunningJob["parent"],
    onEnd: () => {},
  });
  running.publications.stored(running.publications.begin(1), 1);
  const reply = running.claim(claim);
  assert.ok(reply.granted);
  assert.equal(JSON.stringify({ ...reply, remaining_ms: granted.remaining_ms }), textOf(golden("claim_reply")));
});

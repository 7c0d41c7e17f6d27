/** Wire messages: one snapshot each; what was sent once must always decode, to the same value. */
import {
  Announcement,
  Claim,
  ClaimReply,
  DeadLetter,
  decodeMessage,
  DeliveryRecord,
  encodeMessage,
  EventBatch,
  Job,
  JobEvent,
  JobNews,
  JobRecord,
  TokenizeReply,
  TokenizeRequest,
  VideoOpen,
  VideoOpened,
  VideoPlan,
  VideoRefusal,
  WebhookDispatch,
} from "@tessera/shared";
import assert from "node:assert/strict";
import type { z } from "zod";

/** Snapshots are never changed: a message that has got fields gets another one. */
const SNAPSHOTS: Record<string, z.ZodType> = {
  "announcement.json": Announcement,
  "announcement_generation.json": Announcement,
  "announcement_routed.json": Announcement,
  "announcement_queue.json": Announcement,
  "announcement_wire.json": Announcement,
  "claim.json": Claim,
  "claim_granted.json": ClaimReply,
  "claim_granted_2.json": ClaimReply,
  "claim_trial.json": Claim,
  "claim_refused.json": ClaimReply,
  "claim_granted_alone.json": ClaimReply,
  "dead_letter.json": DeadLetter,
  "event_batch.json": EventBatch,
  "event_choice_done.json": JobEvent,
  "event_done.json": JobEvent,
  "event_error.json": JobEvent,
  "event_handed_over.json": JobEvent,
  "event_progress.json": JobEvent,
  "event_progress_prompt.json": JobEvent,
  "event_tokens.json": JobEvent,
  "event_tokens_2.json": JobEvent,
  "job.json": Job,
  "job_2.json": Job,
  "job_combined.json": Job,
  "job_again.json": Job,
  "job_wire_2.json": Job,
  "job_news.json": JobNews,
  "job_news_output.json": JobNews,
  "job_record.json": JobRecord,
  "job_record_logprobs.json": JobRecord,
  "job_record_webhook.json": JobRecord,
  "webhook_delivery.json": DeliveryRecord,
  "webhook_dispatch.json": WebhookDispatch,
  "tokenize_messages.json": TokenizeRequest,
  "tokenize_refused.json": TokenizeReply,
  "tokenize_reply.json": TokenizeReply,
  "tokenize_text.json": TokenizeRequest,
  "video_open.json": VideoOpen,
  "video_opened.json": VideoOpened,
  "video_plan.json": VideoPlan,
  "video_refusal.json": VideoRefusal,
};
/** Fields that older messages do not have. */
const OPTIONAL = new Set([
  "wire_versions",
  "alone",
  "attempt_base",
  "routed",
  "queued",
  "jobs_per_s",
  "handed_over",
  "trial",
  "generation",
  "choice",
  "logprobs",
  "resume_choices",
  "tenant",
  "priority",
  "cache_salt",
  "webhook",
  "num_ids",
  "prompt",
]);

/** `decoded` without what defaults added to `sent`. */
function common(decoded: unknown, sent: unknown): unknown {
  if (typeof sent !== "object" || sent === null || Array.isArray(sent)) return decoded;
  const fields = decoded as Record<string, unknown>;
  return Object.fromEntries(Object.entries(sent).map(([name, value]) => [name, common(fields[name], value)]));
}

const folder = new URL("./wire/", import.meta.url);

for (const [name, schema] of Object.entries(SNAPSHOTS)) {
  Deno.test(`wire: ${name} decodes to itself and survives a round trip`, async () => {
    const bytes = await Deno.readFile(new URL(name, folder));
    const message = decodeMessage(schema, bytes);
    const sent = JSON.parse(new TextDecoder().decode(bytes));
    assert.deepEqual(common(message, sent), sent);
    assert.deepEqual(decodeMessage(schema, encodeMessage(message, 1_000_000)), message);
  });

  Deno.test(`wire: ${name} with a field missing or of another version is refused`, async () => {
    const message = JSON.parse(await Deno.readTextFile(new URL(name, folder))) as Record<string, unknown>;
    for (const field of Object.keys(message)) {
      const { [field]: _, ...rest } = message;
      if (OPTIONAL.has(field)) decodeMessage(schema, encodeMessage(rest, 1_000_000));
      else {assert.throws(
          () => decodeMessage(schema, encodeMessage(rest, 1_000_000)),
          { code: "internal_error" },
          field,
        );}
    }
    assert.throws(() => decodeMessage(schema, encodeMessage({ ...message, v: 99 }, 1_000_000)));
  });
}

Deno.test("wire: every snapshot has a schema", async () => {
  const names = await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name);
  assert.deepEqual(names.sort(), Object.keys(SNAPSHOTS).sort());
});

Deno.test("wire: what does not fit a message is refused before it is sent", () => {
  const message = { text: "x".repeat(2_000) };
  assert.throws(() => encodeMessage(message, 2_000), { code: "request_too_large", status: 413 });
  assert.doesNotThrow(() => encodeMessage(message, 3_000));
});

Deno.test("wire: bytes that are not JSON are an error that shows nothing of them", () => {
  for (const bytes of [new Uint8Array([0xff, 0xfe]), new TextEncoder().encode("{secret"), new Uint8Array()]) {
    assert.throws(() => decodeMessage(Job, bytes), (error: Error) => !JSON.stringify(error).includes("secret"));
  }
});

/** What a webhook says: type, time and the caption, or its id alone where that is asked for or too large. */
import { isFinal, type JobRecord, MAX_WEBHOOK_BYTES, type WebhookDispatch } from "@tessera/shared";
import { captionBody } from "../captions/caption_body.ts";
import { type Caption, stateOf } from "../captions/caption_state.ts";

/** The bytes of an event. The same event has the same bytes at each attempt once its caption has ended. */
export function eventBody(dispatch: WebhookDispatch, caption: Record<string, unknown>): Uint8Array {
  const { type, at_ms, body } = dispatch;
  const { id, object, status } = caption;
  const encode = (data: unknown) =>
    new TextEncoder().encode(JSON.stringify({ type, timestamp: new Date(at_ms).toISOString(), data }));
  if (body === "full") {
    const bytes = encode(caption);
    if (bytes.length <= MAX_WEBHOOK_BYTES) return bytes;
  }
  return encode({ id, object, status });
}

/** A caption as its API shows it, as far as it had come when the event came to pass. */
export function captionAt({ type }: WebhookDispatch, found: Caption): Record<string, unknown> {
  if (type === "caption.completed" && isFinal(stateOf(found).status)) return captionBody(found);
  if (type === "caption.output") return captionBody(found);
  return captionBody({ ...found, jobs: found.jobs.map((job) => job === null ? null : begun(job)) });
}

function begun(job: JobRecord): JobRecord {
  const choices = job.choices.map(() => ({ ids: [], text: "", finish_reason: null }));
  return { ...job, status: "processing", completed_ms: null, choices, usage: null, timings: null, error: null };
}

/** What a webhook says: type, time and the caption, or its id alone where that is asked for or too large. */
import { isFinal, type JobRecord, MAX_WEBHOOK_BYTES, type WebhookDispatch } from "@tessera/shared";

/** The bytes of an event. The same event has the same bytes at each attempt once its caption has ended. */
export function eventBody(dispatch: WebhookDispatch, caption: Readonly<Record<string, unknown>>): Uint8Array {
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

/** A caption by the state of its job, as far as it had come when the event came to pass. */
export function captionAt(dispatch: WebhookDispatch, record: JobRecord): Record<string, unknown> {
  const hasEnded = dispatch.type === "caption.completed" && isFinal(record.status);
  const seconds = (ms: number | null) => ms === null ? null : Math.floor(ms / 1_000);
  return {
    id: dispatch.subject_id,
    object: "caption",
    model: record.model,
    status: hasEnded ? record.status : "processing",
    output: hasEnded && record.status === "succeeded" ? record.choices.map(({ text }) => text) : null,
    error: hasEnded ? record.error : null,
    usage: hasEnded ? record.usage : null,
    metadata: record.metadata,
    created_at: seconds(record.created_ms),
    started_at: seconds(record.started_ms),
    completed_at: hasEnded ? seconds(record.completed_ms) : null,
  };
}

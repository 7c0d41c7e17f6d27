/** The span of a job on this worker and its stages, as a child of its request; nothing where that is not traced. */
import { contextOf, endSpan, type FinishReason, recordStage, startSpan } from "@tessera/shared";
import type { LiveJob } from "./live_job.ts";

/** Times of the stages, by performance.now(); absent: not reached. */
type Moments = LiveJob["at"];

/** Told once, when the job has ended. @param error a code, where it failed */
export function traceJob(
  job: LiveJob,
  workerId: string,
  { finish = null, error = null }: { readonly finish?: FinishReason | null; readonly error?: string | null },
): void {
  const { traceparent, deliveredAt } = job.delivery;
  if (traceparent === null) return;
  const now = performance.now();
  const span = startSpan({ name: "job", kind: "consumer", traceparent, startedAt: deliveredAt });
  if (!span.isRecording()) return;
  const usage = job.usage();
  span.setAttributes({
    "gen_ai.request.model": job.job.model,
    "gen_ai.usage.input_tokens": usage.prompt_tokens,
    "gen_ai.usage.output_tokens": usage.completion_tokens,
    "tessera.image_tokens": usage.image_tokens,
    "tessera.cached_tokens": usage.cached_tokens,
    "tessera.job_id": job.id,
    "tessera.attempt": job.attempt,
    "tessera.worker_id": workerId,
    ...(finish === null ? {} : { "gen_ai.response.finish_reasons": [finish] }),
  });
  for (const [name, startedAt, endedAt] of stages(job.at, deliveredAt, now)) {
    recordStage(name, startedAt, endedAt, {}, contextOf(span));
  }
  endSpan(span, now, error);
}

/** Those that began, the last of them cut short where the job ended in it. */
function* stages(at: Moments, deliveredAt: number, now: number): Generator<[string, number, number]> {
  const all: readonly [string, number | undefined, number | undefined][] = [
    ["claim", deliveredAt, at.claimed],
    ["tiles", at.claimed, at.tilesHere],
    ["vision", at.encoding, at.encoded],
    ["wait", at.ready, at.scheduled],
    ["prefill", at.scheduled, at.firstToken],
    // As in answers, where decode is that of pictures.
    ["generate", at.firstToken, now],
  ];
  for (const [name, startedAt, endedAt] of all) if (startedAt !== undefined) yield [name, startedAt, endedAt ?? now];
}

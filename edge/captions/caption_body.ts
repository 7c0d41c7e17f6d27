/** A caption as its API and its webhooks show it: the request, and how far its job has come. */
import type { JobRecord } from "@tessera/shared";
import { usageBody } from "../api/response.ts";
import type { CaptionRecord } from "./caption_record.ts";
import { tagsOf } from "./presets.ts";

export function captionBody(caption: CaptionRecord, job: JobRecord) {
  const { id } = caption;
  return {
    id,
    object: "caption" as const,
    status: job.status,
    model: caption.model,
    created_at: seconds(caption.created_ms),
    started_at: seconds(job.started_ms),
    completed_at: seconds(job.completed_ms),
    expires_at: seconds(job.expires_ms),
    input: {
      media: caption.media,
      prompt: caption.prompt,
      preset: caption.preset,
      language: caption.language,
    },
    output: outputOf(caption, job),
    error: job.error,
    usage: job.usage === null ? null : usageBody(job.usage),
    metrics: metricsOf(caption, job),
    images: caption.images,
    metadata: caption.metadata,
    webhook: caption.webhook,
    urls: {
      get: `/v1/captions/${id}`,
      cancel: `/v1/captions/${id}/cancel`,
      deliveries: `/v1/captions/${id}/deliveries`,
    },
  };
}

/** While the job runs, what there is so far; null before that. */
function outputOf({ preset }: CaptionRecord, { choices, status }: JobRecord) {
  const [choice] = choices;
  if (choice === undefined || choice.text === "" && status !== "succeeded") return null;
  const text = choice.text.trim();
  return {
    text,
    finish_reason: choice.finish_reason,
    ...(preset === "tags" && status === "succeeded" ? { tags: tagsOf(text) } : {}),
  };
}

/** Milliseconds per stage, as far as they are over. */
function metricsOf(caption: CaptionRecord, { started_ms, completed_ms, timings }: JobRecord): Record<string, number> {
  const { decode_ms: generate_ms, ...worker } = timings ?? {};
  return rounded({
    ...caption.timings,
    ...(started_ms === null ? {} : { queue_ms: Math.max(0, started_ms - caption.created_ms) }),
    ...worker,
    // decode_ms is the pictures' decoding.
    ...(generate_ms === undefined ? {} : { generate_ms }),
    ...(completed_ms === null ? {} : { total_ms: Math.max(0, completed_ms - caption.created_ms) }),
  });
}

function rounded(timings: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(timings).map(([name, ms]) => [name, Math.round(ms * 10) / 10]));
}

function seconds(ms: number): number;
function seconds(ms: number | null): number | null;
function seconds(ms: number | null): number | null {
  return ms === null ? null : Math.floor(ms / 1000);
}

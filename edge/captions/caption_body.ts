/** A caption as its API and its webhooks show it: the request, and how far its jobs have come. */
import type { JobRecord } from "@tessera/shared";
import { usageBody } from "../api/response.ts";
import type { CaptionRecord } from "./caption_record.ts";
import { type Caption, stateOf } from "./caption_state.ts";
import { tagsOf } from "./presets.ts";

export function captionBody(found: Caption) {
  const { caption, jobs } = found;
  const { id } = caption;
  const { status, started_ms, completed_ms, expires_ms, error, usage } = stateOf(found);
  const outputs = jobs.map((job, index) => partOf(caption, job, index));
  const [first] = jobs;
  return {
    id,
    object: "caption" as const,
    status,
    model: caption.model,
    created_at: seconds(caption.created_ms),
    started_at: seconds(started_ms),
    completed_at: seconds(completed_ms),
    expires_at: seconds(expires_ms),
    input: {
      media: caption.media,
      prompt: caption.prompt,
      preset: caption.preset,
      language: caption.language,
    },
    output: jobs.length === 1 && first != null ? textOf(caption, first) : null,
    outputs,
    error,
    usage: usage === null ? null : usageBody(usage),
    metrics: metricsOf(caption, jobs, started_ms, completed_ms),
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

/** One text, as far as it has come; all of one where a picture could not be used is why. */
function partOf(caption: CaptionRecord, job: JobRecord | null, index: number) {
  if (job === null) {
    const error = caption.parts?.[index]?.error ?? null;
    return { index, status: "failed" as const, text: null, finish_reason: null, error, metrics: {} };
  }
  const { text = null, finish_reason = null, ...rest } = textOf(caption, job) ?? {};
  return { index, status: job.status, text, finish_reason, ...rest, error: job.error, metrics: rounded(stagesOf(job)) };
}

/** While the job runs, what there is so far; null before that. */
function textOf({ preset }: CaptionRecord, { choices, status }: JobRecord) {
  const [choice] = choices;
  if (choice === undefined || choice.text === "" && status !== "succeeded") return null;
  const text = choice.text.trim();
  return {
    text,
    finish_reason: choice.finish_reason,
    ...(preset === "tags" && status === "succeeded" ? { tags: tagsOf(text) } : {}),
  };
}

/** Milliseconds per stage, as far as they are over: sums over the texts, but for waiting and the whole. */
function metricsOf(
  caption: CaptionRecord,
  jobs: readonly (JobRecord | null)[],
  startedMs: number | null,
  completedMs: number | null,
): Record<string, number> {
  const stages: Record<string, number> = {};
  for (const job of jobs) {
    if (job === null) continue;
    for (const [name, ms] of Object.entries(stagesOf(job))) stages[name] = (stages[name] ?? 0) + ms;
  }
  const total = completedMs === null ? {} : { total_ms: Math.max(0, completedMs - caption.created_ms) };
  const queue = startedMs === null ? {} : { queue_ms: Math.max(0, startedMs - caption.created_ms) };
  return rounded({ ...caption.timings, ...queue, ...stages, ...total });
}

/** Of the worker; `decode_ms` is the pictures' decoding, so that of tokens goes by another name. */
function stagesOf({ timings }: JobRecord): Record<string, number> {
  const { decode_ms: generate_ms, ...worker } = timings ?? {};
  return { ...worker, ...(generate_ms === undefined ? {} : { generate_ms }) };
}

function rounded(timings: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(timings).map(([name, ms]) => [name, Math.round(ms * 10) / 10]));
}

function seconds(ms: number): number;
function seconds(ms: number | null): number | null;
function seconds(ms: number | null): number | null {
  return ms === null ? null : Math.floor(ms / 1000);
}

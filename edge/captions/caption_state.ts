/** How far a caption is as a whole, by the states of the jobs that make its texts. */
import { isFinal, type JobRecord, type JobStatus, type Usage } from "@tessera/shared";
import type { CaptionRecord } from "./caption_record.ts";

/** A caption with the states of its jobs, in the order of its texts; null where a picture could not be used. */
export interface Caption {
  readonly caption: CaptionRecord;
  readonly jobs: readonly (JobRecord | null)[];
}

export interface CaptionState {
  readonly status: JobStatus;
  /** Unix times in ms. */
  readonly started_ms: number | null;
  readonly completed_ms: number | null;
  readonly expires_ms: number;
  readonly error: JobRecord["error"];
  /** Of all texts; null before the first is through. */
  readonly usage: Usage | null;
}

export function stateOf({ caption, jobs }: Caption): CaptionState {
  const made = jobs.filter((job) => job !== null);
  const started = made.flatMap(({ started_ms }) => started_ms ?? []);
  const completed = made.flatMap(({ completed_ms }) => completed_ms ?? []);
  const status = statusOf(made.map((job) => job.status));
  const refused = caption.parts?.find(({ error }) => error !== null)?.error ?? null;
  return {
    status,
    started_ms: started.length === 0 ? null : Math.min(...started),
    completed_ms: isFinal(status) && completed.length > 0 ? Math.max(...completed) : null,
    expires_ms: Math.max(...made.map(({ expires_ms }) => expires_ms)),
    // With one text at least it is no failure; what is wrong with the others stands beside them.
    error: status === "succeeded"
      ? null
      : made.find(({ error }) => error !== null)?.error ?? (isFinal(status) ? refused : null),
    usage: made.map(({ usage }) => usage).reduce(
      (sum, usage) => sum === null ? usage : usage === null ? sum : added(sum, usage),
      null,
    ),
  };
}

/** It succeeded where one text came of it. */
function statusOf(statuses: readonly JobStatus[]): JobStatus {
  if (!statuses.every(isFinal)) return statuses.every((status) => status === "queued") ? "queued" : "processing";
  return (["canceled", "expired", "succeeded", "failed"] as const).find((status) => statuses.includes(status))!;
}

function added(a: Usage, b: Usage): Usage {
  return {
    prompt_tokens: a.prompt_tokens + b.prompt_tokens,
    completion_tokens: a.completion_tokens + b.completion_tokens,
    image_tokens: a.image_tokens + b.image_tokens,
    cached_tokens: a.cached_tokens + b.cached_tokens,
  };
}

/** One request of a batch: its job made and waited for, its answer or refusal as a line of the output. */
import { BATCH_PRIORITY, isFinal, type JobRecord, MAX_KEPT_LOGPROBS, sha256Hex, TesseraError } from "@tessera/shared";
import { toEdgeError } from "../dispatch/bus_faults.ts";
import { parseCaptionRequest } from "../api/caption_request.ts";
import { completion, tesseraFacts } from "../api/response.ts";
import { captionBody } from "../captions/caption_body.ts";
import type { CaptionRecord } from "../captions/caption_record.ts";
import { captionRecord } from "../captions/submit.ts";
import type { EdgeDeps } from "../deps.ts";
import { usageToCount } from "../jobs/durable_jobs.ts";
import { jobOf, type Prepared, understand } from "../jobs/prepare.ts";
import { sleep } from "../wait.ts";
import type { BatchRecord } from "./batch_record.ts";
import type { BatchRequest } from "./input.ts";
import type { BatchResult } from "./results.ts";

/** Not the request's fault: it is tried again until the batch ends. */
const PASSING = new Set(["rate_limited", "no_worker", "shutting_down", "worker_lost"]);
const RETRY_MS = 500;
/** How long the state of a job is watched before it is read again, whatever the bus did meanwhile. */
const WATCH_MS = 15_000;

/**
 * @param signal the batch is cancelled, over, or another edge's: the job is left as it is
 * @returns null when the signal came first
 */
export async function runLine(
  deps: EdgeDeps,
  batch: BatchRecord,
  { customId, body }: BatchRequest,
  line: number,
  signal: AbortSignal,
): Promise<BatchResult | null> {
  const id = jobIdOfLine(batch, line);
  const requestId = `batch_req_${(await sha256Hex(new TextEncoder().encode(id))).slice(0, 24)}`;
  const result = (status_code: number, answer: unknown): BatchResult => ({
    id: requestId,
    custom_id: customId,
    response: { status_code, request_id: requestId, body: answer },
    error: null,
  });
  while (!signal.aborted) {
    try {
      const { job, answer } = await submitLine(deps, batch, body, id, signal);
      const ended = await endOf(deps, id, job, signal);
      if (ended === null) return null;
      if (ended.status === "succeeded") {
        await countLine(deps, batch, ended);
        return result(200, answer(ended));
      }
      await countLine(deps, batch, ended);
      throw failure(ended);
    } catch (thrown) {
      const error = toEdgeError(thrown);
      if (signal.aborted) return null;
      if (PASSING.has(error.code)) {
        // What ended badly by chance begins anew.
        await deps.jobs.remove(id).catch(() => {});
        await sleep(RETRY_MS, signal);
        continue;
      }
      if (error.status >= 500) deps.log.error("batch_request_failed", { batch_id: batch.id, line, error });
      return result(error.status, error.toBody());
    }
  }
  return null;
}

/** Adds what a line's job made to what the batch's key used, however it ended. */
export async function countLine({ meter }: EdgeDeps, { key_id }: BatchRecord, job: JobRecord): Promise<void> {
  const usage = usageToCount(job);
  if (key_id !== null && usage !== null) await meter.record(key_id, usage, Date.now(), job.id);
}

/** The durable job of a line; the same whichever edge runs it. */
export function jobIdOfLine(batch: Pick<BatchRecord, "id">, line: number): string {
  return `${batch.id}-${line}`;
}

interface Submitted {
  readonly job: JobRecord;
  /** What the endpoint would have answered. */
  readonly answer: (ended: JobRecord) => unknown;
}

async function submitLine(
  deps: EdgeDeps,
  batch: BatchRecord,
  body: BatchRequest["body"],
  id: string,
  signal: AbortSignal,
): Promise<Submitted> {
  // Nobody's share but the server's: a batch waits for room, it takes none from its owner's own requests.
  const ticket = deps.admission.admit();
  try {
    ticket.hold(body.numBytes);
    const { owner } = batch;
    const caption = batch.endpoint === "/v1/captions" ? parseCaptionRequest(body.json) : null;
    if (caption?.webhook != null) {
      throw new TesseraError("unsupported_parameter", {
        message: "A caption of a batch has no webhook.",
        param: "webhook",
      });
    }
    if (caption !== null && caption.chats.length > 1) {
      throw new TesseraError("unsupported_parameter", {
        message: "A line of a batch has one text: send a line for each picture, or set combine.",
        param: "images",
      });
    }
    const json = caption === null ? body.json : {
      ...caption.chats[0],
      model: (caption.model === null ? deps.directory.only() : deps.directory.find(caption.model)).model,
    };
    const prepared = await understand(deps, owner, { ...body, json }, ticket, signal);
    checkLogprobs(prepared);
    const job = jobOf(prepared, { id, edgeId: deps.dispatcher.edgeId, owner });
    const record = caption === null ? null : captionRecord(caption, job, [prepared], { webhook: null, keyId: null });
    const expiresInMs = Math.max(1, batch.expires_ms - Date.now());
    const behind = { ...job, priority: Math.max(job.priority, BATCH_PRIORITY) };
    const submitted = await deps.jobs.submit(behind, prepared.pictures.tiles, { expiresInMs });
    const answer = record === null ? completionOf(prepared, job.id) : captionOf(record);
    return { job: submitted, answer };
  } finally {
    ticket.close();
  }
}

/** @throws TesseraError `invalid_request` when the log-probabilities a request asks for may be too many to be kept */
function checkLogprobs({ request: { sampling }, model }: Prepared): void {
  if (sampling.logprobs === null) return;
  const numTokens = sampling.n * (sampling.max_tokens ?? model.context_length);
  if (numTokens * (1 + sampling.logprobs) <= MAX_KEPT_LOGPROBS) return;
  throw new TesseraError("invalid_request", {
    message: `A request of a batch has at most ${MAX_KEPT_LOGPROBS} log-probabilities: n times max_tokens times ` +
      `(1 + top_logprobs). Ask for fewer, or set max_tokens.`,
    param: "logprobs",
  });
}

/** Null when the signal came first. */
async function endOf(deps: EdgeDeps, id: string, job: JobRecord, signal: AbortSignal): Promise<JobRecord | null> {
  let state = job;
  while (!isFinal(state.status)) {
    if (signal.aborted) return null;
    let seen: JobRecord | null;
    try {
      seen = await deps.jobs.wait(id, AbortSignal.any([signal, AbortSignal.timeout(WATCH_MS)]));
    } catch (error) {
      // The job goes on without the bus, or is taken up again with it; the batch's own time is the end of this.
      deps.log.warn("batch_request_unwatched", { job_id: id, error });
      await sleep(RETRY_MS, signal);
      continue;
    }
    if (seen === null) throw new TesseraError("worker_lost", { diagnostic: `The job ${id} is gone` });
    state = seen;
  }
  return state;
}

function completionOf({ request, pictures, model }: Prepared, id: string): Submitted["answer"] {
  return (ended) => {
    const { usage, timings, choices, started_ms, completed_ms, created_ms } = ended;
    const end = { usage: usage!, timings: timings!, finishReason: choices[0]!.finish_reason! };
    const facts = tesseraFacts(end, {
      images: pictures.images,
      pictureTimings: pictures.pictureTimings,
      load: pictures.timings,
      videos: pictures.videos,
      queueMs: Math.max(0, (started_ms ?? created_ms) - created_ms),
      firstTokenMs: 0,
      totalMs: Math.max(0, (completed_ms ?? created_ms) - created_ms),
    });
    // Nobody was there to see the first token.
    delete facts.timings["first_token_ms"];
    const head = { id: `chatcmpl-${id}`, created: Math.floor(created_ms / 1000), model: model.model };
    const whole = choices.map(({ ids, text, finish_reason, logprobs = [] }) => {
      if (request.sampling.logprobs === null) return { content: text, finishReason: finish_reason!, logprobs: null };
      if (logprobs.length === ids.length) return { content: text, finishReason: finish_reason!, logprobs };
      throw new TesseraError("internal_error", { diagnostic: "A worker that keeps no log-probabilities had the job" });
    });
    return completion(head, whole, end, facts);
  };
}

function captionOf(record: CaptionRecord): Submitted["answer"] {
  return (ended) => {
    // There is no such caption to ask about: its place is this line.
    const { urls: _, ...body } = captionBody({ caption: record, jobs: [ended] });
    return body;
  };
}

function failure({ status, error }: JobRecord): TesseraError {
  if (error !== null) return new TesseraError(error.code, { message: error.message, param: error.param });
  return new TesseraError(status === "canceled" ? "client_closed" : "deadline_exceeded");
}

/** From a caption's request to a job that lasts: its pictures in tiles, its webhook checked, all of it stored. */
import { DURABLE_PRIORITY, type Job, newListId, TesseraError, type WebhookTarget } from "@tessera/shared";
import type { Ticket } from "../admission.ts";
import type { JsonBody } from "../api/body.ts";
import { type CaptionRequest, inCaption, parseCaptionRequest } from "../api/caption_request.ts";
import type { EdgeDeps } from "../deps.ts";
import { jobOf, understand } from "../jobs/prepare.ts";
import type { LoadedPictures } from "../media/load_pictures.ts";
import { webhookTarget } from "../webhooks/target.ts";
import type { CaptionRecord } from "./caption_record.ts";
import { type Caption, CAPTION_PREFIX } from "./captions.ts";

export interface SubmitCaption {
  readonly owner: string;
  readonly body: JsonBody;
  /** Holds the body. */
  readonly ticket: Ticket;
  readonly signal: AbortSignal;
  /** From now, in ms; what is not done by then expires. As long as jobs last when absent. */
  readonly expiresInMs?: number;
  /** What is told of where its picture is from, where the URL that is fetched holds a signature. */
  readonly toldUrl?: string;
  /** The key whose use it counts as. */
  readonly keyId?: string | null;
  /** For whom the same event comes again: the caption of an id is made once. */
  readonly id?: string;
}

/** @throws TesseraError naming what is wrong with the request */
export async function submitCaption(deps: EdgeDeps, submission: SubmitCaption): Promise<Caption> {
  const { owner, body, ticket, signal, id = newListId(CAPTION_PREFIX) } = submission;
  const request = parseCaptionRequest(body.json);
  const webhook = request.webhook === null ? null : webhookTarget({ ...request.webhook, param: "webhook" }, {
    rules: deps.outbound.rules,
    isAvailable: (deps.config.webhookSecrets ?? []).length > 0,
  });
  const prepared = await prepare(deps, request, submission);
  // The body ends here: nothing returned refers to it.
  ticket.release(body.numBytes);
  if (signal.aborted) throw new TesseraError("client_closed");
  const job = jobOf(prepared, { id, edgeId: deps.dispatcher.edgeId, owner });
  const { toldUrl } = submission;
  const media = request.media.map((each) => (toldUrl === undefined ? each : { ...each, url: toldUrl }));
  const caption = captionRecord({ ...request, media }, job, prepared.pictures, {
    webhook,
    keyId: submission.keyId ?? null,
  });
  return await deps.captions.create(
    owner,
    caption,
    () =>
      deps.jobs.submit({ ...job, priority: DURABLE_PRIORITY }, prepared.pictures.tiles, {
        ...(submission.expiresInMs === undefined ? {} : { expiresInMs: submission.expiresInMs }),
        ...(webhook === null ? {} : { webhook: { ...webhook, owner, caption_id: id } }),
      }),
  );
}

/** What is kept of a request whose job is made. */
export function captionRecord(
  request: CaptionRequest,
  job: Job,
  { images, timings }: LoadedPictures,
  { webhook, keyId }: { readonly webhook: WebhookTarget | null; readonly keyId: string | null },
): CaptionRecord {
  return {
    v: 1,
    id: job.id,
    model: job.model,
    created_ms: job.created_ms,
    media: [...request.media],
    prompt: request.prompt,
    preset: request.preset,
    language: request.language,
    metadata: request.metadata,
    webhook,
    images: images.map(({ width, height, cols, rows, tiles }) => ({ width, height, cols, rows, tiles: tiles.length })),
    timings: { ...timings },
    key_id: keyId,
    is_counted: false,
  };
}

async function prepare(deps: EdgeDeps, request: CaptionRequest, { owner, body, ticket, signal }: SubmitCaption) {
  const model = (request.model === null ? deps.directory.only() : deps.directory.find(request.model)).model;
  try {
    return await understand(deps, owner, { ...body, json: { ...request.chat, model } }, ticket, signal);
  } catch (error) {
    throw error instanceof TesseraError ? inCaption(error, body.json) : error;
  }
}

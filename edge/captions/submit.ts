/** From a caption's request to jobs that last: its pictures in tiles, its webhook checked, all of it stored. */
import {
  DURABLE_PRIORITY,
  IMAGE_CONCURRENCY,
  type Job,
  type JobRecord,
  newListId,
  TesseraError,
  type WebhookTarget,
} from "@tessera/shared";
import { toEdgeError } from "../dispatch/bus_faults.ts";
import type { Ticket } from "../admission.ts";
import type { JsonBody } from "../api/body.ts";
import { type CaptionRequest, inCaption, parseCaptionRequest } from "../api/caption_request.ts";
import type { Caller } from "../auth/caller.ts";
import type { EdgeDeps } from "../deps.ts";
import { jobOf, type Prepared, understand } from "../jobs/prepare.ts";
import { webhookTarget } from "../webhooks/target.ts";
import { type CaptionRecord, partJobId } from "./caption_record.ts";
import type { Caption } from "./caption_state.ts";
import { CAPTION_PREFIX } from "./captions.ts";

export interface SubmitCaption {
  /** Whose it is, and whose use it counts as. */
  readonly owner: Caller;
  readonly body: JsonBody;
  /** Holds the body. */
  readonly ticket: Ticket;
  readonly signal: AbortSignal;
  /** From now, in ms; what is not done by then expires. As long as jobs last when absent. */
  readonly expiresInMs?: number;
  /** What is told of where its picture is from, where the URL that is fetched holds a signature. */
  readonly toldUrl?: string;
  /** For whom the same event comes again: the caption of an id is made once, and has one picture. */
  readonly id?: string;
}

/** @throws TesseraError naming what is wrong with the request */
export async function submitCaption(deps: EdgeDeps, submission: SubmitCaption): Promise<Caption> {
  const { owner, body, toldUrl } = submission;
  const request = parseCaptionRequest(body.json);
  const webhook = request.webhook === null ? null : webhookTarget({ ...request.webhook, param: "webhook" }, {
    rules: deps.outbound.rules,
    isAvailable: (deps.config.webhookSecrets ?? []).length > 0,
  });
  const media = request.media.map((each) => (toldUrl === undefined ? each : { ...each, url: toldUrl }));
  const taking = { deps, submission, request: { ...request, media }, webhook };
  if (request.chats.length === 1) return await takeOne(taking);
  // Each text is a request to the model; the first was counted at the door.
  await deps.gate.take(owner, request.chats.length - 1);
  return await takeMany(taking);
}

interface Taking {
  readonly deps: EdgeDeps;
  readonly submission: SubmitCaption;
  readonly request: CaptionRequest;
  readonly webhook: WebhookTarget | null;
}

/** One text: of a picture, of several together, of a video. */
async function takeOne(taking: Taking): Promise<Caption> {
  const { deps, request, submission: { owner, body, ticket, signal, id = newListId(CAPTION_PREFIX) } } = taking;
  const prepared = await prepare(taking, 0);
  // The body ends here: nothing returned refers to it.
  ticket.release(body.numBytes);
  if (signal.aborted) throw new TesseraError("client_closed");
  const job = jobOf(prepared, { id, edgeId: deps.dispatcher.edgeId, owner: owner.tenant });
  const caption = captionRecord(request, job, [prepared], { webhook: taking.webhook, keyId: owner.key?.id ?? null });
  return await deps.captions.create(owner.tenant, caption, () => store(taking, id, job, prepared));
}

/** A text for each picture: each is cut, stored and let go of before the next has its place; some may be unusable. */
async function takeMany(taking: Taking): Promise<Caption> {
  const { deps, request, webhook, submission: { owner, body, ticket, signal } } = taking;
  const id = newListId(CAPTION_PREFIX);
  const { chats } = request;
  const draft: CaptionRecord = {
    ...headOf(request, id, modelOf(deps, request), { webhook, keyId: owner.key?.id ?? null }),
    images: [],
    timings: {},
    parts: chats.map(() => ({ error: null })),
  };
  const found: (Prepared | null)[] = chats.map(() => null);
  const jobs: (JobRecord | null)[] = chats.map(() => null);
  const refusals: (TesseraError | null)[] = chats.map(() => null);
  let fault: TesseraError | null = null;
  const takePart = async (index: number) => {
    const prepared = await prepare(taking, index);
    const job = jobOf(prepared, { id: partJobId(id, index), edgeId: deps.dispatcher.edgeId, owner: owner.tenant });
    jobs[index] = await store(taking, id, job, prepared);
    const { tiles } = prepared.pictures;
    ticket.release(tiles.reduce((sum, { pixels }) => sum + pixels.length, 0));
    found[index] = { ...prepared, pictures: { ...prepared.pictures, tiles: [] } };
  };
  let next = 0;
  const lane = async () => {
    while (next < chats.length && fault === null) {
      const index = next++;
      try {
        if (signal.aborted) throw new TesseraError("client_closed");
        await takePart(index);
      } catch (thrown) {
        const error = toEdgeError(thrown);
        if (isOfPicture(error)) refusals[index] = error;
        else fault ??= error;
      }
    }
  };
  return await deps.captions.createMany(owner.tenant, draft, async () => {
    await Promise.all(Array.from({ length: Math.min(IMAGE_CONCURRENCY, chats.length) }, lane));
    ticket.release(body.numBytes);
    const isNone = jobs.every((job) => job === null);
    if (fault !== null || isNone) throw fault ?? refusals.find((error) => error !== null);
    const parts = refusals.map((error) => ({ error: error === null ? null : told(error) }));
    const { images, timings } = picturesOf(found);
    return { caption: { ...draft, images, timings, parts }, jobs };
  }).then(async (caption) => {
    // Whoever tells of it sees it only now, and some of its texts may be there already.
    if (webhook !== null) await deps.jobs.tellAgain(jobs.find((job) => job !== null)!);
    return caption;
  });
}

/** Statuses of what is wrong with one picture for good; all else is the request's fault, or the server's. */
function isOfPicture({ code }: TesseraError): boolean {
  return /^(image_|file_not_found$|context_length_exceeded$)/.test(code);
}

function store({ deps, submission, webhook }: Taking, captionId: string, job: Job, { pictures }: Prepared) {
  const { owner: { tenant }, expiresInMs } = submission;
  return deps.jobs.submit({ ...job, priority: DURABLE_PRIORITY }, pictures.tiles, {
    ...(expiresInMs === undefined ? {} : { expiresInMs }),
    ...(webhook === null ? {} : { webhook: { ...webhook, owner: tenant, caption_id: captionId } }),
  });
}

function told({ code, message, param }: TesseraError): JobRecord["error"] {
  return { code, message, param };
}

interface RecordFields {
  readonly webhook: WebhookTarget | null;
  readonly keyId: string | null;
}

/** What is kept of a request whose job is made. */
export function captionRecord(
  request: CaptionRequest,
  job: Job,
  prepared: readonly Prepared[],
  fields: RecordFields,
): CaptionRecord {
  return { ...headOf(request, job.id, job.model, fields), ...picturesOf(prepared), created_ms: job.created_ms };
}

function headOf(request: CaptionRequest, id: string, model: string, { webhook, keyId }: RecordFields) {
  return {
    v: 1 as const,
    id,
    model,
    created_ms: Date.now(),
    media: [...request.media],
    prompt: request.prompt,
    preset: request.preset,
    language: request.language,
    metadata: request.metadata,
    webhook,
    key_id: keyId,
    parts: null,
    is_taken: true,
    is_counted: false,
  };
}

function picturesOf(prepared: readonly (Prepared | null)[]): Pick<CaptionRecord, "images" | "timings"> {
  const timings: Record<string, number> = {};
  for (const each of prepared) {
    for (const [name, ms] of Object.entries(each?.pictures.timings ?? {})) timings[name] = (timings[name] ?? 0) + ms;
  }
  return {
    images: prepared.flatMap((each) =>
      each === null ? [null] : each.pictures.images.map(({ width, height, cols, rows, tiles }) => ({
        width,
        height,
        cols,
        rows,
        tiles: tiles.length,
      }))
    ),
    timings,
  };
}

function modelOf({ directory }: EdgeDeps, { model }: CaptionRequest): string {
  return (model === null ? directory.only() : directory.find(model)).model;
}

async function prepare({ deps, request, submission }: Taking, index: number): Promise<Prepared> {
  const { owner, body, ticket, signal } = submission;
  const json = { ...request.chats[index], model: modelOf(deps, request) };
  try {
    return await understand(deps, owner.tenant, { ...body, json }, ticket, signal);
  } catch (error) {
    throw error instanceof TesseraError ? inCaption(error, body.json, index) : error;
  }
}

/** From a verified event to the pictures it tells of: where each is, what tells it from others, when it came to pass. */
import { MAX_HOOK_ITEMS, TesseraError } from "@tessera/shared";
import { z } from "zod";
import { parsePointer, valueAt } from "./json_pointer.ts";
import type { HookSource, Mapping } from "./sources.ts";

export interface EventItem {
  /** Of the picture; or where in the store it is. */
  readonly place: { readonly url: string } | { readonly bucket: string; readonly key: string };
  /** The same for the same event; null: only the whole of `thing` tells it from others. */
  readonly id: string | null;
  readonly thing: unknown;
  /** null: the event does not say. */
  readonly timeMs: number | null;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface RawEvent {
  readonly headers: Headers;
  readonly text: string;
}

/** @throws TesseraError `invalid_json`, `invalid_request` */
export function itemsOf({ options }: HookSource, event: RawEvent): EventItem[] {
  const items = (() => {
    switch (options.events) {
      case "s3":
        return fromS3(parse(event.text));
      case "supabase":
        return fromSupabase(parse(event.text));
      case "cloudevents":
        return cloudEvents(event).flatMap((one) => mapped(one, options.map, `${one.source} ${one.id}`, one.time));
      case "json":
        return mapped(parse(event.text), options.map, null, null);
    }
  })();
  if (items.length > MAX_HOOK_ITEMS) {
    throw new TesseraError("invalid_request", { message: `The event tells of more than ${MAX_HOOK_ITEMS} pictures.` });
  }
  return items;
}

const S3Event = z.looseObject({
  Records: z.array(z.looseObject({
    eventName: z.string(),
    eventTime: z.string().optional(),
    s3: z.looseObject({
      bucket: z.looseObject({ name: z.string().min(1) }),
      object: z.looseObject({
        key: z.string().min(1),
        eTag: z.string().optional(),
        versionId: z.string().nullish(),
        sequencer: z.string().optional(),
      }),
    }),
  })).default([]),
});

function fromS3(json: unknown): EventItem[] {
  return checked(S3Event, json).Records
    .filter(({ eventName }) => /^(s3:)?ObjectCreated:/.test(eventName))
    .map(({ eventTime, s3: { bucket, object } }) => {
      // Keys come as in a form: + for a space.
      const key = decoded(object.key.replaceAll("+", " "));
      const { eTag = "", sequencer = "" } = object;
      const versionId = object.versionId ?? "";
      return {
        place: { bucket: bucket.name, key },
        id: JSON.stringify([bucket.name, key, versionId, eTag, sequencer, eventTime ?? ""]),
        thing: null,
        timeMs: timeOf(eventTime),
        metadata: { bucket: bucket.name, key },
      };
    });
}

const SupabaseEvent = z.looseObject({
  type: z.string(),
  record: z.looseObject({
    id: z.string(),
    bucket_id: z.string().min(1),
    name: z.string().min(1),
    created_at: z.string().nullish(),
    updated_at: z.string().nullish(),
  }).nullable(),
});

/** A database webhook on the table `storage.objects`. */
function fromSupabase(json: unknown): EventItem[] {
  const { type, record } = checked(SupabaseEvent, json);
  if (record === null || type === "DELETE") return [];
  const { id, bucket_id: bucket, name: key, created_at, updated_at } = record;
  const time = updated_at ?? created_at ?? "";
  return [{
    place: { bucket, key },
    id: JSON.stringify([id, bucket, key, time]),
    thing: null,
    timeMs: timeOf(time),
    metadata: { bucket, key },
  }];
}

const CloudEvent = z.looseObject({
  specversion: z.literal("1.0"),
  id: z.string().min(1),
  source: z.string().min(1),
  type: z.string().min(1),
  time: z.string().optional(),
});
type CloudEvent = z.infer<typeof CloudEvent>;

/** Structured, batched or binary, as the content type says. */
function cloudEvents({ headers, text }: RawEvent): CloudEvent[] {
  const contentType = headers.get("content-type") ?? "";
  if (/^application\/cloudevents-batch\+json/i.test(contentType)) {
    return checked(z.array(CloudEvent), parse(text)).map(withData);
  }
  if (/^application\/cloudevents(\+json)?\s*(;|$)/i.test(contentType)) {
    return [withData(checked(CloudEvent, parse(text)))];
  }
  const attributes: Record<string, unknown> = {};
  for (const [name, value] of headers) {
    if (name.startsWith("ce-")) attributes[name.slice("ce-".length)] = decoded(value);
  }
  return [checked(CloudEvent, { ...attributes, data: parse(text) })];
}

/** With `data` where it came as base64 of JSON. */
function withData(event: CloudEvent): CloudEvent {
  const { data_base64 } = event;
  if (typeof data_base64 !== "string") return event;
  try {
    return { ...event, data: parse(new TextDecoder().decode(Uint8Array.fromBase64(data_base64))) };
  } catch (cause) {
    throw new TesseraError("invalid_request", { message: "data_base64 is not JSON in base64.", cause });
  }
}

function mapped(
  document: unknown,
  map: Mapping,
  eventId: string | null,
  eventTime: string | null | undefined,
): EventItem[] {
  const found = map.items === undefined ? [document] : valueAt(document, map.items);
  const things = Array.isArray(found) ? found : [];
  return things
    .filter((thing) => Object.entries(map.where).every(([at, value]) => valueAt(thing, parsePointer(at)) === value))
    .map((thing, index): EventItem => {
      const url = valueAt(thing, map.url);
      if (typeof url !== "string") {
        throw new TesseraError("invalid_request", {
          message: "The event has no picture's URL where the source's map says.",
        });
      }
      const metadata: Record<string, string> = {};
      for (const [name, at] of Object.entries(map.metadata)) {
        const value = valueAt(thing, at);
        if (value !== undefined && value !== null) metadata[name] = asText(value);
      }
      const id = map.id === undefined ? undefined : valueAt(thing, map.id);
      const time = map.time === undefined ? eventTime : valueAt(thing, map.time);
      return {
        place: { url },
        id: id !== undefined ? asText(id) : eventId === null ? null : `${eventId} ${index}`,
        thing,
        timeMs: timeOf(time),
        metadata,
      };
    });
}

/** Longest value of a caption's metadata. */
const MAX_METADATA_CHARS = 512;

function asText(value: unknown): string {
  return (typeof value === "string" ? value : JSON.stringify(value)).slice(0, MAX_METADATA_CHARS);
}

/** A date, or seconds since 1970; null for anything else. */
function timeOf(value: unknown): number | null {
  if (typeof value === "number") return value * 1_000;
  if (typeof value !== "string" || value === "") return null;
  const ms = /^\d{9,11}$/.test(value) ? Number(value) * 1_000 : Date.parse(value);
  return Number.isNaN(ms) ? null : ms;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new TesseraError("invalid_json", { cause });
  }
}

function checked<S extends z.ZodType>(schema: S, json: unknown): z.infer<S> {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new TesseraError("invalid_request", { message: `The event is not valid: ${path.join(".")}: ${message}.` });
}

/** A caption's request as a form: files in parts of their own, the fields of the JSON as text. */
import { MAX_IMAGES, MAX_VIDEO_BYTES, newId, TesseraError } from "@tessera/shared";
import { z } from "zod";
import type { Ticket } from "../admission.ts";
import { concat } from "./blobs.ts";
import type { JsonBody } from "./body.ts";
import { type FormLimits, readForm } from "./multipart.ts";

/** The form, as the document tells it. */
export const CaptionFormBody = z.object({
  image: z.file().optional(),
  images: z.array(z.file()).optional(),
  video: z.file().optional(),
  ...Object.fromEntries(
    ["combine", "prompt", "preset", "language", "model", "max_tokens", "temperature", "seed", "metadata", "webhook"]
      .map((name) => [name, z.string().optional()]),
  ),
});

const LIMITS: FormLimits = { maxFields: 64, maxFieldBytes: 64 * 1024, maxFiles: MAX_IMAGES };
/** Fields that hold JSON, and those that hold a list. */
const JSON_FIELDS = new Set(["metadata", "mm_processor_kwargs", "combine"]);
const NUMBERS = new Set(["max_tokens", "temperature", "seed"]);
const LISTS = new Set(["images", "webhook_events_filter"]);

/** @throws TesseraError 400, 408, 413 or 429 */
export async function readCaptionForm(request: Request, ticket: Ticket): Promise<JsonBody> {
  const prefix = newId("upload");
  const uploads = new Map<string, Uint8Array<ArrayBuffer>>();
  const json: Record<string, unknown> = {};
  const add = (name: string, value: unknown) => {
    if (LISTS.has(name)) json[name] = [...(json[name] as unknown[] | undefined ?? []), value];
    else if (json[name] === undefined) json[name] = value;
    else throw new TesseraError("invalid_request", { message: `${name} is there twice.`, param: name });
  };
  let numBytes = 0;
  const fields = await readForm(request, LIMITS, async ({ field, bytes }) => {
    const name = field.replace(/\[\]$/, "");
    if (!["image", "images", "video"].includes(name)) {
      const param = field.slice(0, 64);
      throw new TesseraError("unsupported_parameter", { message: `This server takes no file as ${param}.`, param });
    }
    const pieces: Uint8Array[] = [];
    let size = 0;
    for await (const piece of bytes) {
      ticket.hold(piece.length);
      size += piece.length;
      numBytes += piece.length;
      // The kind's own limit is checked when it is known what it is; nothing is larger than a video.
      if (size > MAX_VIDEO_BYTES) {
        const message = `The file is larger than ${MAX_VIDEO_BYTES / 1024 / 1024} MiB.`;
        throw new TesseraError("request_too_large", { message, param: name });
      }
      pieces.push(piece);
    }
    const url = `${prefix}-${uploads.size}`;
    uploads.set(url, concat(pieces));
    add(name, url);
  });
  for (const [field, values] of fields) {
    const name = field.replace(/\[\]$/, "");
    for (const value of values) for (const each of split(name, value)) add(name, each);
  }
  return { json, blobs: new Map(), uploads, numBytes };
}

function split(name: string, value: string): unknown[] {
  if (name === "webhook_events_filter") return value.split(",").map((event) => event.trim());
  if (NUMBERS.has(name) && /^-?\d+(\.\d+)?$/.test(value)) return [Number(value)];
  if (!JSON_FIELDS.has(name)) return [value];
  try {
    return [JSON.parse(value)];
  } catch {
    throw new TesseraError("invalid_request", { message: `${name} is not valid: expected JSON.`, param: name });
  }
}

/** Reads a JSON request body: content type, size while it streams in, time limit; pictures stay bytes. */
import { MAX_BODY_BYTES, TesseraError } from "@tessera/shared";
import type { Ticket } from "../admission.ts";
import { timeLimit } from "../wait.ts";
import { type Blobs, concat, extractBlobs, restoreBlobs } from "./blobs.ts";

/** Text as bytes, as a string and as values: what parsing holds of everything but pictures, for a moment. */
const COPIES_WHILE_PARSING = 3;

/** A parsed body; `numBytes` are held on the ticket until the caller lets go of `blobs`. */
export interface JsonBody {
  readonly json: unknown;
  /** Pictures, by the name that stands in their `url`. */
  readonly blobs: Blobs;
  /** Files that came beside the JSON, by the name that stands in their `url`. */
  readonly uploads?: Blobs;
  readonly numBytes: number;
}

/** @throws TesseraError 400, 408, 413, 415 or 429 */
export async function readJsonBody(request: Request, ticket: Ticket, timeoutMs: number): Promise<JsonBody> {
  const contentType = request.headers.get("content-type") ?? "";
  if (!/^application\/([\w.+-]+\+)?json\s*(;|$)/i.test(contentType)) throw new TesseraError("unsupported_media_type");
  const limit = timeLimit(timeoutMs, request.signal, () => new TesseraError("request_timeout"));
  try {
    return parseJsonBytes(await readAll(request, ticket, limit.signal), ticket);
  } finally {
    limit.clear();
  }
}

/**
 * JSON that is in memory already.
 * @throws TesseraError `invalid_json`
 */
export function parseJsonBytes(body: Uint8Array<ArrayBuffer>, ticket?: Ticket): JsonBody {
  const { rest, blobs } = extractBlobs(body);
  ticket?.hold(rest.length * COPIES_WHILE_PARSING);
  const json = parse(rest, blobs);
  ticket?.release(rest.length * COPIES_WHILE_PARSING);
  return { json, blobs, numBytes: body.length };
}

/** The whole body, every byte held on the ticket before it is kept. */
async function readAll(request: Request, ticket: Ticket, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const announced = Number(request.headers.get("content-length") ?? Number.NaN);
  if (announced > MAX_BODY_BYTES) throw tooLarge();
  // What is announced is reserved at once: of many large bodies some fit, instead of a part of each.
  const whole = Number.isInteger(announced) && announced >= 0 ? announced : null;
  if (whole !== null) ticket.hold(whole);

  const reader = request.body?.getReader();
  if (reader === undefined) throw new TesseraError("invalid_json");
  const stop = () => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener("abort", stop);
  const body = whole === null ? null : new Uint8Array(whole);
  const chunks: Uint8Array[] = [];
  let numBytes = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => {
        throw cause instanceof TesseraError ? cause : new TesseraError("client_closed", { cause });
      });
      if (signal.aborted) {
        throw signal.reason instanceof TesseraError ? signal.reason : new TesseraError("client_closed");
      }
      if (done) return body?.subarray(0, numBytes) ?? concat(chunks);
      if (numBytes + value.length > MAX_BODY_BYTES) throw tooLarge();
      if (body === null) {
        ticket.hold(value.length);
        chunks.push(value);
      } else {
        body.set(value, numBytes);
      }
      numBytes += value.length;
    }
  } catch (error) {
    stop();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

function parse(rest: Uint8Array, blobs: Blobs): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(rest);
  } catch {
    throw new TesseraError("invalid_json", { message: "The request body is not UTF-8. Send JSON in UTF-8." });
  }
  try {
    return blobs.size === 0 ? JSON.parse(text) : JSON.parse(text, restoreBlobs(blobs));
  } catch {
    throw new TesseraError("invalid_json");
  }
}

function tooLarge(): TesseraError {
  const limit = MAX_BODY_BYTES / 1024 / 1024;
  return new TesseraError("request_too_large", {
    message:
      `The request body is larger than ${limit} MiB. Send smaller pictures, or https: URLs in place of data: URLs.`,
  });
}

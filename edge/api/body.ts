/** Reads a JSON request body: content type, size while it streams in, time limit. */
import { MAX_BODY_BYTES, TesseraError } from "@tessera/shared";
import type { Ticket } from "../admission.ts";
import { timeLimit } from "../wait.ts";

/** Text and parsed copy exist side by side while parsing. */
const COPIES_WHILE_PARSING = 2;

/** A parsed body; `numBytes` are held on the ticket until the caller releases them. */
export interface JsonBody {
  readonly json: unknown;
  readonly numBytes: number;
}

/** @throws TesseraError 400, 408, 413, 415 or 429 */
export async function readJsonBody(request: Request, ticket: Ticket, timeoutMs: number): Promise<JsonBody> {
  const contentType = request.headers.get("content-type") ?? "";
  if (!/^application\/([\w.+-]+\+)?json\s*(;|$)/i.test(contentType)) throw new TesseraError("unsupported_media_type");
  if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) throw tooLarge();

  const limit = timeLimit(timeoutMs, request.signal, () => new TesseraError("request_timeout"));
  try {
    const { text, numBytes } = await readText(request, ticket, limit.signal);
    const json = parse(text);
    ticket.release(numBytes * (COPIES_WHILE_PARSING - 1));
    return { json, numBytes };
  } finally {
    limit.clear();
  }
}

async function readText(request: Request, ticket: Ticket, signal: AbortSignal) {
  const reader = request.body?.getReader();
  if (reader === undefined) throw new TesseraError("invalid_json");
  const stop = () => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener("abort", stop);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let numBytes = 0;
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => {
        throw new TesseraError("client_closed", { cause });
      });
      if (signal.aborted) {
        throw signal.reason instanceof TesseraError ? signal.reason : new TesseraError("client_closed");
      }
      if (done) return { text: text + decode(decoder), numBytes };
      numBytes += value.length;
      if (numBytes > MAX_BODY_BYTES) throw tooLarge();
      ticket.hold(value.length * COPIES_WHILE_PARSING);
      text += decode(decoder, value);
    }
  } catch (error) {
    stop();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

function decode(decoder: TextDecoder, chunk?: Uint8Array): string {
  try {
    return chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
  } catch {
    throw new TesseraError("invalid_json", { message: "The request body is not UTF-8. Send JSON in UTF-8." });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
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

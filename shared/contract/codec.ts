/** JSON on the wire: encode with a size check, decode with a schema. */
import type { z } from "zod";
import { TesseraError } from "../errors.ts";
import { PAYLOAD_FRACTION } from "../limits.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Serialises a message.
 * @param maxPayload the server's limit in bytes, as it told on connect
 * @throws TesseraError `request_too_large` when the message would not fit
 */
export function encodeMessage(message: unknown, maxPayload: number): Uint8Array {
  const bytes = encoder.encode(JSON.stringify(message));
  checkPayload(bytes.length, maxPayload);
  return bytes;
}

/** @throws TesseraError `request_too_large` when `numBytes` does not fit a message, headers included */
export function checkPayload(numBytes: number, maxPayload: number): void {
  const limit = Math.floor(maxPayload * PAYLOAD_FRACTION);
  if (numBytes > limit) {
    throw new TesseraError("request_too_large", {
      message: `The request's text is too large: ${numBytes} bytes on the bus, at most ${limit}. Shorten the messages.`,
    });
  }
}

/**
 * Parses and validates a message.
 * @throws TesseraError `internal_error` naming what did not fit; never echoes the payload
 */
export function decodeMessage<S extends z.ZodType>(schema: S, bytes: Uint8Array): z.infer<S> {
  let json: unknown;
  try {
    json = JSON.parse(decoder.decode(bytes));
  } catch (cause) {
    throw new TesseraError("internal_error", { diagnostic: "Cannot decode message: not UTF-8 JSON", cause });
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new TesseraError("internal_error", {
      diagnostic: `Cannot decode message: ${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}`,
    });
  }
  return parsed.data;
}

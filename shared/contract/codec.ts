/** JSON on the wire: encode with a size check, decode with a schema. */
import type { z } from "zod";
import { TesseraError } from "../errors.ts";
import { PAYLOAD_FRACTION } from "../limits.ts";
import { versionsText, WIRE_VERSIONS } from "../wire_version.ts";

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
 * Parses and validates a message. Fields it does not know are left out.
 * @throws TesseraError `incompatible_version` naming the version of a message from a build too new or too old,
 * `internal_error` naming what did not fit; never echoes the payload
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
    checkVersion(json);
    const issue = parsed.error.issues[0];
    throw new TesseraError("internal_error", {
      diagnostic: `Cannot decode message: ${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}`,
    });
  }
  return parsed.data;
}

/** Whatever else does not fit, it is because of the version. */
function checkVersion(json: unknown): void {
  const version = (json as { readonly v?: unknown } | null)?.v;
  if (!Number.isInteger(version) || WIRE_VERSIONS.some((known) => known === version)) return;
  const message = `The message is of version ${version}; this build reads ${versionsText(WIRE_VERSIONS)}.`;
  throw new TesseraError("incompatible_version", { message });
}

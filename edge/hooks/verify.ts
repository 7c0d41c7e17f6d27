/** Whether an event comes from its source: its signature or word, and for Standard Webhooks its time. */
import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";
import { HOOK_TOLERANCE_MS, TesseraError } from "@tessera/shared";
import { isEqual, isSigned } from "../webhooks/signature.ts";
import type { Verifier } from "./sources.ts";

/** What is signed and can tell one event from another. */
export interface VerifiedEvent {
  /** null: the source's way to sign has none. */
  readonly id: string | null;
}

/**
 * All comparisons take as long whatever differs.
 * @throws TesseraError `signature_invalid`, which does not say what was wrong with it
 */
export function verifyEvent(verifier: Verifier, headers: Headers, body: Uint8Array, nowMs: number): VerifiedEvent {
  switch (verifier.type) {
    case "standard": {
      const id = headers.get("webhook-id") ?? "";
      const timestamp = headers.get("webhook-timestamp") ?? "";
      const signatures = headers.get("webhook-signature") ?? "";
      const isNow = /^\d{1,12}$/.test(timestamp) && Math.abs(Number(timestamp) * 1_000 - nowMs) <= HOOK_TOLERANCE_MS;
      if (id === "" || !isSigned(verifier.secrets, { id, timestamp, signatures }, body) || !isNow) throw refused();
      return { id };
    }
    case "hmac-sha256": {
      const given = headers.get(verifier.header) ?? "";
      const digits = given.startsWith(verifier.prefix) ? given.slice(verifier.prefix.length) : "";
      const expected = createHmac("sha256", verifier.key).update(body).digest();
      if (!isEqual(Buffer.from(/^[0-9a-f]{64}$/i.test(digits) ? digits : "", "hex"), expected)) throw refused();
      // What names the event in other headers is not signed.
      return { id: null };
    }
    case "token": {
      const given = (headers.get(verifier.header) ?? "").replace(/^Bearer\s+/i, "");
      if (!isEqual(digestOf(new TextEncoder().encode(given)), digestOf(verifier.token))) throw refused();
      return { id: null };
    }
  }
}

/** Two words of different lengths are compared in the same time. */
function digestOf(word: Uint8Array): Uint8Array {
  return createHmac("sha256", "word").update(word).digest();
}

function refused(): TesseraError {
  return new TesseraError("signature_invalid");
}

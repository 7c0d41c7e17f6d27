/** Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body, one for each secret that is in use. */
import { Buffer } from "node:buffer";
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/** Key of one `whsec_` secret. */
export type WebhookSecret = Uint8Array;

/** Two are in use while one is replaced by the other. */
export const MAX_SECRETS = 2;
const PREFIX = "whsec_";
/** As the specification asks for. */
const MIN_KEY_BYTES = 24;
const MAX_KEY_BYTES = 64;
const NEW_KEY_BYTES = 32;

export function newSecret(): WebhookSecret {
  return new Uint8Array(randomBytes(NEW_KEY_BYTES));
}

/** As receivers' libraries take it. */
export function secretText(secret: WebhookSecret): string {
  return PREFIX + Buffer.from(secret).toString("base64");
}

/** @throws Error that does not show the secret */
export function parseSecret(text: string): WebhookSecret {
  const digits = text.startsWith(PREFIX) ? text.slice(PREFIX.length) : null;
  if (digits === null || !/^[A-Za-z0-9+/]+={0,2}$/.test(digits)) {
    throw new Error("a secret is not whsec_ and base64");
  }
  const key = new Uint8Array(Buffer.from(digits, "base64"));
  if (key.length < MIN_KEY_BYTES || key.length > MAX_KEY_BYTES) {
    throw new Error(`a secret has ${key.length} bytes, expected ${MIN_KEY_BYTES} to ${MAX_KEY_BYTES}`);
  }
  return key;
}

/** @throws Error that shows no secret */
export function parseSecrets(list: string): WebhookSecret[] {
  const secrets = list.split(",").map((entry) => entry.trim()).filter((entry) => entry !== "").map(parseSecret);
  if (secrets.length > MAX_SECRETS) {
    throw new Error(`there are ${secrets.length} secrets, expected ${MAX_SECRETS} at most`);
  }
  return secrets;
}

/** The three headers; `nowMs` is the time of this attempt. */
export function signedHeaders(
  secrets: readonly WebhookSecret[],
  id: string,
  nowMs: number,
  body: Uint8Array,
): Record<string, string> {
  const timestamp = String(Math.floor(nowMs / 1_000));
  const signatures = secrets.map((secret) => `v1,${signature(secret, id, timestamp, body).toString("base64")}`);
  return { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures.join(" ") };
}

/** Whether one of the signatures is by one of the secrets. Says nothing of the time. */
export function isSigned(
  secrets: readonly WebhookSecret[],
  { id, timestamp, signatures }: { readonly id: string; readonly timestamp: string; readonly signatures: string },
  body: Uint8Array,
): boolean {
  const given = signatures.split(" ").filter((entry) => entry.startsWith("v1,"));
  let isAny = false;
  // All are compared, so that the time tells nothing of which one it was.
  for (const secret of secrets) {
    const expected = signature(secret, id, timestamp, body);
    for (const entry of given) isAny = isEqual(Buffer.from(entry.slice("v1,".length), "base64"), expected) || isAny;
  }
  return isAny;
}

/** Compares in a time that depends on nothing but the lengths. */
export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function signature(secret: WebhookSecret, id: string, timestamp: string, body: Uint8Array): Buffer {
  return createHmac("sha256", secret).update(`${id}.${timestamp}.`).update(body).digest();
}

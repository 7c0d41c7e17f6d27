/** Identifiers: random, sortable by nothing, safe as one NATS subject token. */

/** 96 random bits in base 36 behind a prefix: `job-3k9...`. */
export function newId(prefix: string): string {
  const words = crypto.getRandomValues(new Uint32Array(3));
  let text = "";
  for (const word of words) text += word.toString(36).padStart(7, "0");
  return `${prefix}-${text}`;
}

/** Lower-case hex SHA-256 of bytes, the name of a tile everywhere. */
export async function sha256Hex(bytes: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
  let hex = "";
  for (const byte of digest) hex += byte.toString(16).padStart(2, "0");
  return hex;
}

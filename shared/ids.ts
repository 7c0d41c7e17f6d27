/** Identifiers: random, safe as one NATS subject token; those of lists sort by the time they were made. */

/** 96 random bits in base 36 behind a prefix: `job-3k9...`. */
export function newId(prefix: string): string {
  const words = crypto.getRandomValues(new Uint32Array(3));
  let text = "";
  for (const word of words) text += word.toString(36).padStart(7, "0");
  return `${prefix}-${text}`;
}

/** Digits of a time in base 36: enough until the year 5188. */
const TIME_DIGITS = 9;

/** The time in ms, then 64 random bits: sorts by age to the millisecond. `file-0mb8...`. */
export function newListId(prefix: string): string {
  const time = Date.now().toString(36).padStart(TIME_DIGITS, "0");
  const words = crypto.getRandomValues(new Uint32Array(2));
  return `${prefix}-${time}${Array.from(words, (word) => word.toString(36).padStart(7, "0")).join("")}`;
}

/** Whether a text can be such an identifier. */
export function isListId(prefix: string, text: string): boolean {
  return text.startsWith(`${prefix}-`) && /^[0-9a-z]{23}$/.test(text.slice(prefix.length + 1));
}

/** Lower-case hex SHA-256 of bytes, the name of a tile everywhere. */
export async function sha256Hex(bytes: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
  let hex = "";
  for (const byte of digest) hex += byte.toString(16).padStart(2, "0");
  return hex;
}

/**
 * Owns the text of plain token events: the one message of which there are thousands a second, written without a general
 * serialiser. The same JSON, character for character.
 */

/** Longer texts go the general way, which knows the limits. */
const MAX_CHARS = 1_024;
/** Characters that stand in a JSON string as they are, and are one byte each. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;
/** Bytes of many events are cut from one buffer. */
const SLAB_BYTES = 64 * 1024;

let slab = new Uint8Array(0);
let numUsed = 0;

/** Everything before `seq`; the same in all events of an attempt. @param jobId where events of several jobs go together */
export function tokenEventHead(attempt: number, jobId: string | null = null): string {
  const head = jobId === null ? '"v":1' : `"job_id":${JSON.stringify(jobId)}`;
  return `{${head},"attempt":${attempt},"type":"tokens","seq":`;
}

/** The event of ids of the first answer, or null where it has to go the general way. */
export function tokenEvent(head: string, seq: number, ids: readonly number[], text: string): string | null {
  if (text.length > MAX_CHARS || ids.length > MAX_CHARS) return null;
  const idList = ids.length === 1 ? String(ids[0]) : ids.join(",");
  const quoted = PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
  return `${head}${seq},"ids":[${idList}],"text":${quoted}}`;
}

/** UTF-8 of a short text, or null where it is not ASCII. Faster, for those, than a call out of the engine that runs us. */
export function asciiBytes(text: string): Uint8Array | null {
  const { length } = text;
  if (numUsed + length > slab.length) {
    slab = new Uint8Array(Math.max(SLAB_BYTES, length));
    numUsed = 0;
  }
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return null;
    slab[numUsed + i] = code;
  }
  numUsed += length;
  return slab.subarray(numUsed - length, numUsed);
}

/** JSON pointers (RFC 6901): the value at a place in a document. */

/** @throws Error naming the pointer that is none */
export function parsePointer(text: string): readonly string[] {
  if (text !== "" && !text.startsWith("/")) throw new Error(`"${text.slice(0, 64)}" is no JSON pointer`);
  if (/~(?![01])/.test(text)) throw new Error(`"${text.slice(0, 64)}" is no JSON pointer: ~ stands before 0 or 1`);
  return text.split("/").slice(1).map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** Undefined where nothing is. Own members alone: no document reaches into prototypes. */
export function valueAt(document: unknown, pointer: readonly string[]): unknown {
  let value = document;
  for (const token of pointer) {
    if (Array.isArray(value) && !/^(0|[1-9]\d*)$/.test(token)) return undefined;
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, token)) return undefined;
    value = (value as Record<string, unknown>)[token];
  }
  return value;
}

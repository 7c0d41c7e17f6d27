/** The hash by which two bodies count as one: of a form without its boundary, which is another each time it is sent. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";

export class BodyHash {
  readonly #hash = createHash("sha256");
  readonly #boundary: Buffer | null;
  /** The end of what came, as long as it may be the beginning of a boundary. */
  #tail = Buffer.alloc(0);

  constructor(contentType: string) {
    const found = /^multipart\/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]+)"|([^\s;]+))/i.exec(contentType);
    const boundary = found?.[1] ?? found?.[2];
    this.#boundary = boundary === undefined ? null : Buffer.from(boundary);
  }

  update(chunk: Uint8Array): void {
    if (this.#boundary === null) return void this.#hash.update(chunk);
    let rest = Buffer.concat([this.#tail, chunk]);
    for (let at = rest.indexOf(this.#boundary); at >= 0; at = rest.indexOf(this.#boundary)) {
      this.#hash.update(rest.subarray(0, at));
      rest = rest.subarray(at + this.#boundary.length);
    }
    const kept = Math.min(rest.length, this.#boundary.length - 1);
    this.#hash.update(rest.subarray(0, rest.length - kept));
    this.#tail = Buffer.from(rest.subarray(rest.length - kept));
  }

  digest(): string {
    return this.#hash.update(this.#tail).digest("hex");
  }
}

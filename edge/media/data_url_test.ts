/** data: URLs are decoded as the platform does, or refused. */
import { MAX_IMAGE_BYTES, TesseraError } from "@tessera/shared";
import fc from "fast-check";
import assert from "node:assert/strict";
import { isDataUrl, maxDataUrlBytes, parseDataUrl } from "./data_url.ts";

const encode = (text: string) => new TextEncoder().encode(text);

const codeOf = (url: string): string => {
  try {
    parseDataUrl(encode(url), "p");
    return "ok";
  } catch (error) {
    assert.ok(error instanceof TesseraError);
    assert.equal(error.param, "p");
    return error.code;
  }
};

Deno.test("data URL: any bytes come back, with any media type, percent-encoded or not", () => {
  const header = fc.constantFrom("", "image/png", "image/jpeg;charset=x", "IMAGE/GIF", "text/plain");
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), header, fc.boolean(), (bytes, type, isEncoded) => {
    const base64 = bytes.toBase64();
    const url = `data:${type};base64,${isEncoded ? encodeURIComponent(base64) : base64}`;
    assert.ok(isDataUrl(url));
    assert.ok(maxDataUrlBytes(url.length) >= bytes.length);
    assert.deepEqual(parseDataUrl(encode(url), "p"), bytes);
  }));
});

Deno.test("data URL: no text makes it throw anything but its own errors", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
    assert.ok(["ok", "image_url_invalid"].includes(codeOf(`data:${text}`)));
  }));
});

Deno.test("data URL: what is accepted and what is not", () => {
  assert.equal(codeOf("data:;base64,"), "ok");
  assert.equal(codeOf("data:base64,aGk="), "ok");
  assert.equal(codeOf("DATA:image/png;BASE64,aGk="), "ok");
  assert.equal(codeOf("data:image/png;base64,aG\nk="), "ok");
  assert.equal(codeOf("data:image/png;base64,aGk"), "ok");
  for (
    const url of [
      "data:",
      "data:,",
      "data:image/png,aGk=",
      "data:image/png;base64",
      "data:x;base64,a-_k",
      "data:x;base64,a",
    ]
  ) {
    assert.equal(codeOf(url), "image_url_invalid", url);
  }
  assert.equal(codeOf(`data:${"x".repeat(300)};base64,aGk=`), "image_url_invalid");
});

Deno.test("data URL: the size is refused before anything is decoded", () => {
  const tooLong = `data:;base64,${"A".repeat(Math.ceil((MAX_IMAGE_BYTES + 3) / 3) * 4)}`;
  assert.equal(codeOf(tooLong), "image_too_large");
});

Deno.test("data URL: large ones, decoded piece by piece, with line breaks or without", () => {
  const bytes = new Uint8Array(1_000_001).map((_, i) => (i * 2_654_435_761) >>> 13);
  const base64 = bytes.toBase64();
  assert.deepEqual(parseDataUrl(encode(`data:;base64,${base64}`), "p"), bytes);
  const lines = base64.replace(/.{76}/g, "$&\r\n");
  const decoded = parseDataUrl(encode(`data:;base64,${lines}`), "p");
  assert.deepEqual(decoded, bytes);
  assert.equal(decoded.buffer.byteLength, decoded.length);
  assert.equal(codeOf(`data:;base64,${base64}${base64}`), "image_url_invalid");
  assert.equal(codeOf(`data:;base64,${base64.slice(0, 500_000)}*${base64}`), "image_url_invalid");
});

/** Long data: URLs leave the JSON as bytes, and the rest parses as it stood. */
import fc from "fast-check";
import assert from "node:assert/strict";
import { extractBlobs, restoreBlobs } from "./blobs.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const long = (tail: string) => `data:image/png;base64,${"A".repeat(5_000)}${tail}`;

Deno.test("blobs: any JSON is the same again after its data: URLs were taken out and put back", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom(long(""), long("é"), long('"'), long("\\"), "data:", "\\\\"),
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      text,
      fc.integer(),
      fc.array(tie("value")),
      fc.dictionary(fc.string({ maxLength: 9 }), tie("value")),
    ),
  }));
  fc.assert(fc.property(value, fc.constantFrom(undefined, 2), (json, indent) => {
    const body = encode(JSON.stringify(json, null, indent));
    const { rest, blobs } = extractBlobs(body);
    const expected = JSON.parse(decode(body));
    assert.deepEqual(JSON.parse(decode(rest), restoreBlobs(blobs)), expected);
  }));
});

Deno.test("blobs: a picture's url stays a name, everything else comes back", () => {
  const body = encode(JSON.stringify({ image_url: { url: long("x") }, text: long("y"), short: "data:,x" }));
  const { rest, blobs } = extractBlobs(body);
  assert.ok(rest.length < 300);
  const json = JSON.parse(decode(rest), restoreBlobs(blobs));
  assert.equal(decode(blobs.get(json.image_url.url)!), long("x"));
  assert.equal(json.text, long("y"));
  assert.equal(json.short, "data:,x");
});

Deno.test("blobs: what is not JSON does not become JSON", () => {
  for (const body of ['{"a', `{"a":"${long("")}`, `{"a":"${long("")}"`, `["${long("")}" "x"]`, `"${long("")}\\"`]) {
    const { rest, blobs } = extractBlobs(encode(body));
    assert.throws(() => JSON.parse(decode(rest), restoreBlobs(blobs)), SyntaxError, body.slice(-10));
  }
  const { rest, blobs } = extractBlobs(encode(`{"text":"${long("\n")}"}`));
  assert.throws(() => JSON.parse(decode(rest), restoreBlobs(blobs)), SyntaxError);
});

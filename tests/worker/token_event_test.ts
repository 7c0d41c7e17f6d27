/** Token events written by hand are, byte for byte, those of the general serialiser. */
import { encodeMessage, JobEvent } from "@tessera/shared";
import fc from "fast-check";
import assert from "node:assert/strict";
import { Detokenizer } from "../../gpu-worker/publish/detokenizer.ts";
import { asciiBytes, tokenEvent, tokenEventHead } from "../../gpu-worker/publish/token_event.ts";

Deno.test("token event: the same bytes as in general", () => {
  const text = fc.oneof(fc.string({ maxLength: 40 }), fc.string({ unit: "binary", maxLength: 40 }));
  const ids = fc.array(fc.nat(200_000), { minLength: 1, maxLength: 3 });
  fc.assert(fc.property(fc.nat(), fc.integer({ min: 1, max: 9 }), ids, text, (seq, attempt, ids, text) => {
    const general = encodeMessage(JobEvent.parse({ v: 1, attempt, type: "tokens", seq, ids, text }), 1_000_000);
    const event = tokenEvent(tokenEventHead(attempt), seq, ids, text)!;
    assert.deepEqual(new TextEncoder().encode(event), general);
    const bytes = asciiBytes(event);
    if (bytes === null) assert.ok(general.some((byte) => byte > 0x7f));
    else assert.deepEqual(new Uint8Array(bytes), general);
  }));
  assert.equal(tokenEvent("", 0, [1], "x".repeat(2_000)), null);
});

Deno.test("detokenizer: pieces known by heart join to what all bytes decode to", () => {
  // Ids are bytes, and from 256 on whole or broken pieces of characters.
  const pieces = ["a", " b", "é", "日本", "👍", ""].map((text) => new TextEncoder().encode(text));
  const broken = [[0xf0, 0x9f], [0x91, 0x8d], [0xe6], [0x97, 0xa5], [0xc3], [0x61, 0xc3]].map((b) =>
    Uint8Array.from(b)
  );
  const all = [...pieces, ...broken];
  const tokens = { bytesOf: (id: number) => all[id]! };
  fc.assert(fc.property(fc.array(fc.nat(all.length - 1), { maxLength: 30 }), (ids) => {
    const detokenizer = new Detokenizer(tokens);
    const text = ids.map((id) => detokenizer.push(id)).join("") + detokenizer.end();
    const bytes = Uint8Array.from(ids.flatMap((id) => [...all[id]!]));
    assert.equal(text, new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
  }));
});

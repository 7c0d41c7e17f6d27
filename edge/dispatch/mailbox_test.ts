/** Text waits for a slow reader within its bound and comes out in order. */
import { MAX_UNREAD_CHARS, TesseraError } from "@tessera/shared";
import assert from "node:assert/strict";
import { type AnswerEnd, Mailbox } from "./mailbox.ts";

const END: AnswerEnd = {
  finishReason: "stop",
  usage: { prompt_tokens: 1, completion_tokens: 1, image_tokens: 0, cached_tokens: 0 },
  timings: { tiles_ms: 0, wait_ms: 0, vision_ms: 0, prefill_ms: 0, decode_ms: 0 },
};

Deno.test("mailbox: each text is a part of its own, the end comes last", async () => {
  const mailbox = new Mailbox();
  const waiting = mailbox.next();
  mailbox.push("");
  assert.deepEqual(await waiting, { type: "text", choice: 0, text: "" });
  mailbox.push("a");
  mailbox.push("b");
  mailbox.finish({ end: END });
  mailbox.finish({ error: new TesseraError("worker_lost") });
  assert.ok(mailbox.push("after the end"));
  assert.deepEqual(await mailbox.next(), { type: "text", choice: 0, text: "a" });
  assert.deepEqual(await mailbox.next(), { type: "text", choice: 0, text: "b" });
  assert.deepEqual(await mailbox.next(), { type: "end", end: END });
});

Deno.test("mailbox: a reader far behind gets texts joined, none lost", async () => {
  const mailbox = new Mailbox();
  const texts = Array.from({ length: 500 }, (_, i) => `${i} `);
  texts.forEach((text) => mailbox.push(text));
  mailbox.finish({ end: END });
  let text = "";
  let numParts = 0;
  for (let part = await mailbox.next(); part.type === "text"; part = await mailbox.next()) {
    text += part.text;
    numParts++;
  }
  assert.equal(text, texts.join(""));
  assert.ok(numParts < 100);
});

Deno.test("mailbox: a failure is told after the text before it", async () => {
  const mailbox = new Mailbox();
  mailbox.push("a");
  mailbox.finish({ error: new TesseraError("worker_lost") });
  assert.equal((await mailbox.next()).type, "text");
  await assert.rejects(mailbox.next(), { code: "worker_lost" });
});

Deno.test("mailbox: what a reader leaves lying is bounded", () => {
  const mailbox = new Mailbox();
  assert.ok(mailbox.push("x".repeat(MAX_UNREAD_CHARS)));
  assert.ok(!mailbox.push("x"));
});

/** Server-sent events: framing, keep-alive, errors, and the end. */
import assert from "node:assert/strict";
import { sseBody, sseResponse } from "./sse.ts";

async function* items(...texts: string[]): AsyncGenerator<string, void> {
  for (const text of texts) yield await Promise.resolve(text);
}

Deno.test("sse: one event per item, headers that keep proxies from holding them back", async () => {
  const closed: boolean[] = [];
  const response = sseResponse(items('{"a":1}', "[DONE]"), {
    keepAliveMs: 1_000,
    stallMs: 1_000,
    onClose: (gone) => closed.push(gone),
  });
  assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  assert.equal(response.headers.get("cache-control"), "no-cache, no-transform");
  assert.equal(response.headers.get("x-accel-buffering"), "no");
  assert.equal(await response.text(), 'data: {"a":1}\n\ndata: [DONE]\n\n');
  assert.deepEqual(closed, [false]);
});

Deno.test("sse: items are taken only as fast as they are read", async () => {
  let numTaken = 0;
  async function* counted(): AsyncGenerator<string, void> {
    for (;;) yield await Promise.resolve(String(numTaken++));
  }
  const closed: boolean[] = [];
  const reader = sseBody(counted(), { keepAliveMs: 1_000, stallMs: 1_000, onClose: (gone) => closed.push(gone) })
    .getReader();
  await reader.read();
  await reader.read();
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(numTaken, 2);
  await reader.cancel();
  assert.deepEqual(closed, [true]);
});

Deno.test("sse: an item that comes after keep-alive comments is not lost, and neither is a late failure", async () => {
  async function* slow(): AsyncGenerator<string, void> {
    await new Promise((resolve) => setTimeout(resolve, 70));
    yield "late";
    throw new Error("x");
  }
  const closed: boolean[] = [];
  const reader = sseBody(slow(), { keepAliveMs: 20, stallMs: 1_000, onClose: (gone) => closed.push(gone) }).getReader();
  let text = "";
  while (!text.includes("late")) text += new TextDecoder().decode((await reader.read()).value);
  assert.match(text, /^(: keep-alive\n\n){2,}data: late\n\n$/);
  await assert.rejects(reader.read());
  assert.deepEqual(closed, [false]);
});

Deno.test("sse: a client that stops reading counts as gone", async () => {
  const closed: boolean[] = [];
  const reader = sseBody(items("a", "b", "c"), {
    keepAliveMs: 1_000,
    stallMs: 40,
    onClose: (gone) => closed.push(gone),
  }).getReader();
  await reader.read();
  await new Promise((resolve) => setTimeout(resolve, 20));
  await reader.read();
  assert.deepEqual(closed, []);
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.deepEqual(closed, [true]);
  await assert.rejects(reader.read());
});

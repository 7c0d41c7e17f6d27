/** Batches: answers in order, each failing alone, a few at a time; waiting for room; a client that leaves. */
import assert from "node:assert/strict";
import { badPicture, fakePicture } from "./fake_tile_pool.ts";
import { about, errorOf, type Harness, sseItems, until, withEdge } from "./harness.ts";
import { FAKE_MODEL } from "./fake_worker.ts";

const post = ({ edge }: Harness, body: unknown, init: RequestInit = {}) =>
  fetch(`${edge.url}/v1/batch/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    ...init,
  });

Deno.test("batch: many questions with a picture each, in order, the bad ones failing alone", async () => {
  await withEdge({}, async (harness) => {
    harness.worker.serve(["It is", " so."], 5);
    const requests: Record<string, unknown>[] = Array.from(
      { length: 20 },
      (_, i) => ({ messages: [about([fakePicture(1, 1, i)])] }),
    );
    requests[3] = { messages: [about([fakePicture(1, 1), badPicture("corrupt")])] };
    requests[7] = { messages: [] };
    requests[11] = { model: "none", messages: [about([])] };
    requests[13] = { messages: [about([])], stream: true };
    const response = await post(harness, { model: FAKE_MODEL, max_tokens: 9, requests });
    assert.equal(response.status, 200);
    const { object, data, num_failed, usage } = await response.json();
    assert.equal(object, "list");
    assert.equal(num_failed, 4);
    assert.equal(usage.completion_tokens, 16 * 2);
    const errors: Record<number, [string, string]> = {
      3: ["image_corrupt", "requests[3].messages[0].content[1]"],
      7: ["invalid_request", "requests[7].messages"],
      11: ["model_not_found", "requests[11].model"],
      13: ["invalid_request", "requests[13].stream"],
    };
    for (const [i, item] of data.entries()) {
      assert.equal(item.index, i);
      if (errors[i] !== undefined) assert.deepEqual([item.error.code, item.error.param], errors[i]);
      else assert.equal(item.choices[0].message.content, "It is so.");
    }
  });
});

Deno.test("batch: streamed, each answer an event when it is ready", async () => {
  await withEdge({}, async (harness) => {
    harness.worker.serve(["yes"]);
    const requests = Array.from({ length: 12 }, (_, i) => ({ messages: i === 5 ? [] : [about([])] }));
    const items = await Array.fromAsync(sseItems(await post(harness, { model: FAKE_MODEL, requests, stream: true })));
    assert.equal(items.pop(), "[DONE]");
    const parsed = items.map((item) => JSON.parse(item));
    assert.deepEqual(parsed.map(({ index }) => index).sort((a, b) => a - b), requests.map((_, i) => i));
    assert.equal(parsed.filter(({ error }) => error !== undefined).length, 1);
  });
});

Deno.test("batch: what is wrong with it as a whole is told by the status", async () => {
  await withEdge({ worker: false }, async (harness) => {
    for (const body of [{}, { requests: [] }, { requests: [1] }, { requests: Array(257).fill({}) }]) {
      assert.match((await errorOf(await post(harness, body), 400)).param ?? "", /^requests/);
    }
    const get = await fetch(`${harness.edge.url}/v1/batch/chat/completions`);
    assert.equal((await errorOf(get, 405)).code, "method_not_allowed");
  });
});

Deno.test("batch: it waits for room that others have, and is cancelled with its client", async () => {
  // The batch itself is one request in flight, its parts are others.
  await withEdge({ config: { maxInflight: 2 } }, async (harness) => {
    const { worker, edge } = harness;
    const requests = Array.from({ length: 4 }, () => ({ messages: [about([])] }));
    const answered = post(harness, { model: FAKE_MODEL, requests });
    for (let i = 0; i < 4; i++) {
      const job = await worker.pull();
      assert.ok(edge.deps.admission.numInflight <= 2);
      await job.take();
      job.done(0, "ok");
      await job.ack();
    }
    assert.equal((await (await answered).json()).num_failed, 0);

    const stop = new AbortController();
    const left = post(harness, { model: FAKE_MODEL, requests }, { signal: stop.signal }).catch(() => null);
    const job = await worker.pull();
    await job.take();
    stop.abort();
    await job.cancelled;
    await left;
    await job.ack();
    await until(() => edge.deps.admission.numInflight === 0);
    assert.equal(await worker.numQueued(), 0);
  });
});

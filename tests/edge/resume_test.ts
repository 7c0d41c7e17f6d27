/** Workers that die, stall, repeat themselves or leave gaps: what the client sees is whole, or an honest error. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import {
  type ClaimReply,
  DEAD_STREAM,
  DeadLetter,
  deadSubject,
  decodeMessage,
  MAX_DELIVER,
  MAX_LOST_ATTEMPTS,
} from "@tessera/shared";
import assert from "node:assert/strict";
import { fakePicture } from "./fake_tile_pool.ts";
import { FAKE_MODEL } from "./fake_worker.ts";
import { about, errorOf, type Harness, sseItems, until, withEdge } from "./harness.ts";

/** Text of a stream and the error at its end, if any. */
async function readStream(response: Response): Promise<{ text: string; code: string | null; items: string[] }> {
  let text = "";
  let code: string | null = null;
  const items: string[] = [];
  for await (const item of sseItems(response)) {
    items.push(item);
    if (item === "[DONE]") continue;
    const chunk = JSON.parse(item);
    text += chunk.choices?.[0]?.delta.content ?? "";
    code = chunk.error?.code ?? code;
  }
  return { text, code, items };
}

Deno.test("repeats and events of older attempts are dropped", async () => {
  await withEdge({ worker: { ackWaitMs: 300 } }, async ({ ask, worker }) => {
    const asked = ask({ stream: true });
    const first = await worker.pull();
    first.tokens(0, [1], "before the claim ");
    await first.take();
    first.tokens(0, [1], "a");
    first.tokens(0, [1], "a");
    first.tokens(1, [2, 3], "b");
    first.tokens(1, [2], "?");
    const response = await asked;
    const second = await worker.pull();
    assert.equal(second.attempt, 2);
    assert.deepEqual(await second.take(), [1, 2, 3]);
    first.tokens(3, [99], "stale");
    first.done(4);
    second.tokens(3, [4], "c");
    first.emit({ type: "error", code: "internal_error", message: "stale", param: null });
    assert.deepEqual(await first.claim([]), { v: 2, granted: false, reason: "superseded" });
    second.done(4, "d");
    await second.ack();
    const { text, code } = await readStream(response);
    assert.equal(text, "abcd");
    assert.equal(code, null);
    assert.deepEqual(await second.claim([]), { v: 2, granted: false, reason: "gone" });
  });
});

Deno.test("a worker dies: the next one gets the tiles and goes on, nothing lost or repeated", async () => {
  await withEdge({ worker: { ackWaitMs: 500 }, waits: { silenceMs: 200 } }, async ({ ask, worker, addWorker }) => {
    const asked = ask({ stream: true, messages: [about([fakePicture(2, 2)])] });
    const first = await worker.pull();
    await first.take();
    first.tokens(0, [1], "Ein ");
    first.tokens(1, [2], "roter ");
    const response = await asked;
    const other = await addWorker({ ackWaitMs: 500 });
    await worker.die();
    const second = await other.pull();
    assert.equal(second.job.id, first.job.id);
    assert.deepEqual(second.job.sampling, first.job.sampling);
    assert.deepEqual(await second.take(), [1, 2]);
    assert.deepEqual(second.tiles.map(({ hash }) => hash), second.allTiles);
    second.tokens(2, [3], "Kreis");
    second.done(3, ".");
    await second.ack();
    const { text, items } = await readStream(response);
    assert.equal(text, "Ein roter Kreis.");
    assert.equal(items.at(-1), "[DONE]");
  });
});

Deno.test("a worker dies before the first token: the answer is as if nothing was", async () => {
  await withEdge({ worker: { ackWaitMs: 300 } }, async ({ ask, worker, addWorker }) => {
    const asked = ask();
    await (await worker.pull()).take();
    const other = await addWorker({ ackWaitMs: 300 });
    await worker.die();
    other.serve(["ok"]);
    const body = await (await asked).json();
    assert.equal(body.choices[0].message.content, "ok");
  });
});

Deno.test("a gap in the sequence: the job goes to the queue again and on behind the last token", async () => {
  await withEdge({}, async ({ ask, worker, lines }) => {
    const asked = ask({ stream: true });
    const job = await worker.pull();
    await job.take();
    job.tokens(0, [1], "a");
    const response = await asked;
    job.tokens(2, [3], "c");
    const again = await worker.pull();
    assert.equal(again.job.id, job.job.id);
    assert.ok(again.attempt > job.attempt);
    assert.deepEqual(await again.take(), [1]);
    job.tokens(1, [2, 3], "stale");
    assert.deepEqual(await job.claim([]), { v: 2, granted: false, reason: "gone" });
    again.tokens(1, [2], "b");
    again.done(2);
    await again.ack();
    const { text, code } = await readStream(response);
    assert.equal(text, "ab");
    assert.equal(code, null);
    assert.match(JSON.stringify(lines.filter(({ event }) => event === "job_published_again")), /tokens at seq 2\.\.3/);
    await until(async () => await worker.numQueued() === 0);
  });
});

Deno.test("a worker that is gone is noticed at once, not after JetStream's wait", async () => {
  const waits = { probeMs: 100 };
  await withEdge({ worker: { ackWaitMs: 60_000 }, waits }, async ({ ask, worker, addWorker }) => {
    const asked = ask({ stream: true });
    const first = await worker.pull();
    await first.take();
    first.tokens(0, [1], "a");
    const response = await asked;
    const other = await addWorker({ ackWaitMs: 60_000 });
    await worker.die();
    const second = await other.pull();
    assert.deepEqual(await second.take(), [1]);
    second.tokens(1, [2], "b");
    second.done(2);
    await second.ack();
    assert.equal((await readStream(response)).text, "ab");
  });
});

Deno.test("a request that ends every worker is parked after three, and its client told", async () => {
  const waits = { probeMs: 100 };
  await withEdge({ waits }, async ({ ask, worker, addWorker, natsUrl }) => {
    const asked = ask({ stream: true });
    let victim = worker;
    const replies: ClaimReply[] = [];
    for (let attempt = 0; attempt < MAX_LOST_ATTEMPTS; attempt++) {
      const job = await victim.pull();
      replies.push(await job.claim());
      const next = await addWorker();
      await victim.die();
      victim = next;
    }
    assert.deepEqual(replies.map((reply) => reply.granted && reply.alone), [undefined, true, true]);
    const response = await asked;
    const error = await errorOf(response, 500);
    assert.equal(error.code, "worker_crashed");
    assert.match(error.message, /job-[0-9a-z]{21}/);
    await until(async () => await victim.numQueued() === 0);
    const nc = await connect({ servers: natsUrl });
    const manager = await jetstreamManager(nc);
    await until(async () => (await manager.streams.info(DEAD_STREAM).catch(() => null))?.state.messages === 1);
    const stored = await manager.streams.getMessage(DEAD_STREAM, { last_by_subj: deadSubject(FAKE_MODEL) });
    const letter = decodeMessage(DeadLetter, stored!.data);
    assert.equal(letter.attempts, MAX_LOST_ATTEMPTS);
    assert.equal(letter.worker_ids.length, MAX_LOST_ATTEMPTS);
    assert.match(error.message, new RegExp(letter.job.id));
    await nc.close();
    // The fleet goes on.
    victim.serve(["ok"]);
    assert.equal((await (await ask()).json()).choices[0].message.content, "ok");
  });
});

/** Has a job claimed and then hears nothing of it. */
async function silence({ ask, worker }: Harness, then: () => Promise<unknown>): Promise<Response> {
  const asked = ask();
  const job = await worker.pull();
  await job.take();
  await then();
  return await asked;
}

Deno.test("silence without any worker left: worker_lost", async () => {
  await withEdge({ waits: { silenceMs: 200, restartMs: 200 } }, async (harness) => {
    const response = await silence(harness, () => harness.worker.stop());
    const error = await errorOf(response, 502);
    assert.equal(error.code, "worker_lost");
    assert.equal(response.headers.get("retry-after"), "1");
  });
});

Deno.test("silence while a worker lives: waits until the deadline, then 504 and a cancel", async () => {
  await withEdge({ config: { deadlineMs: 1_500 }, waits: { silenceMs: 100, noWorkerMs: 100 } }, async (harness) => {
    const asked = harness.ask();
    const job = await harness.worker.pull();
    const reply = await job.claim([]);
    assert.ok(reply.granted && reply.remaining_ms > 500 && reply.remaining_ms <= 1_500);
    await job.cancelled;
    assert.equal((await errorOf(await asked, 504)).code, "deadline_exceeded");
    await job.ack();
  });
});

Deno.test("progress keeps a slow job alive", async () => {
  await withEdge({ waits: { silenceMs: 250, noWorkerMs: 1 } }, async ({ ask, worker }) => {
    const asked = ask();
    const job = await worker.pull();
    await job.take();
    await worker.announce({ draining: true });
    for (let i = 0; i < 10; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      job.emit({ type: "progress" });
    }
    job.done(0, "late");
    await job.ack();
    assert.equal((await (await asked).json()).choices[0].message.content, "late");
  });
});

Deno.test("a job handed out as often as allowed is given up, and leaves the queue", async () => {
  await withEdge({ worker: { ackWaitMs: 200 } }, async ({ ask, worker }) => {
    const asked = ask();
    for (let attempt = 1; attempt <= MAX_DELIVER; attempt++) assert.equal((await worker.pull()).attempt, attempt);
    void worker.pull().catch(() => {});
    assert.equal((await errorOf(await asked, 502)).code, "worker_lost");
    await until(async () => await worker.numQueued() === 0);
  });
});

Deno.test("a worker that wants a tile the job does not have is refused", async () => {
  await withEdge({}, async ({ ask, worker }) => {
    const asked = ask({ model: FAKE_MODEL });
    const job = await worker.pull();
    assert.deepEqual(await job.claim(["0".repeat(64)]), { v: 2, granted: false, reason: "gone" });
    assert.equal((await errorOf(await asked, 500)).code, "internal_error");
    await job.ack();
  });
});

/** Several answers and log-probabilities over real NATS with a fake worker: their chunks, bodies and resumption. */
import assert from "node:assert/strict";
import { sseItems, withEdge } from "./harness.ts";

const told = (text: string, logprob: number) => ({ bytes: [...new TextEncoder().encode(text)], logprob });
const body = (text: string, logprob: number) => ({ token: text, ...told(text, logprob) });

Deno.test("choices: each in chunks of its own, the last reason with what is said of all", async () => {
  await withEdge({}, async ({ ask, worker }) => {
    const asked = ask({ stream: true, n: 2, stream_options: { include_usage: true } });
    const job = await worker.pull();
    assert.equal(job.job.sampling.n, 2);
    assert.deepEqual(await job.take(), []);
    job.emit({ type: "tokens", seq: 0, ids: [1], text: "a", choice: 1 });
    job.tokens(0, [2], "b");
    job.emit({ type: "choice_done", seq: 1, text: "!", choice: 0, finish_reason: "stop" });
    job.emit({ type: "choice_done", seq: 1, text: "!", choice: 0, finish_reason: "stop" });
    job.emit({ type: "tokens", seq: 1, ids: [3], text: "c", choice: 1 });
    job.emit({ type: "choice_done", seq: 2, text: "", choice: 1, finish_reason: "length" });
    job.done(3);
    await job.ack();
    const items = (await Array.fromAsync(sseItems(await asked))).slice(0, -1).map((item) => JSON.parse(item));
    assert.deepEqual(
      items.map(({ choices }) =>
        choices.map((c: { index: number; delta: object; finish_reason: string | null }) => [
          c.index,
          c.delta,
          c.finish_reason,
        ])[0]
      ),
      [
        [0, { role: "assistant", content: "" }, null],
        [1, { role: "assistant", content: "" }, null],
        [1, { content: "a" }, null],
        [0, { content: "b" }, null],
        [0, { content: "!" }, null],
        [0, {}, "stop"],
        [1, { content: "c" }, null],
        [1, {}, "length"],
        undefined,
      ],
    );
    assert.ok("tessera" in items.at(-2));
    assert.equal(items.at(-1).usage.completion_tokens, 3);
  });
});

Deno.test("choices: another worker goes on behind the last token of each", async () => {
  await withEdge({}, async ({ ask, worker }) => {
    const asked = ask({ n: 3 });
    const job = await worker.pull();
    await job.take();
    job.tokens(0, [1, 2], "ab");
    job.emit({ type: "tokens", seq: 0, ids: [3], text: "c", choice: 2 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    const reply = await job.claim([]);
    assert.ok(reply.granted);
    assert.deepEqual([reply.resume_ids, reply.resume_choices], [[1, 2], [[], [3]]]);
    for (const choice of [0, 1, 2]) {
      const seq = [2, 0, 1][choice]!;
      job.emit({ type: "choice_done", seq, text: "", choice, finish_reason: "stop" });
    }
    job.done(3);
    await job.ack();
    const { choices } = await (await asked).json();
    assert.deepEqual(
      choices.map((c: { message: { content: string } }) => c.message.content),
      ["ab", "", "c"],
    );
  });
});

Deno.test("logprobs: OpenAI's shape, for a part of a character too", async () => {
  await withEdge({}, async ({ ask, worker }) => {
    const asked = ask({ logprobs: true, top_logprobs: 2 });
    const job = await worker.pull();
    assert.equal(job.job.sampling.logprobs, 2);
    await job.take();
    const half = { bytes: [0xf0, 0x9f], logprob: -0.5 };
    job.emit({ type: "tokens", seq: 0, ids: [1], text: "", logprobs: [{ ...half, top: [half, told("no", -9999)] }] });
    job.emit({ type: "tokens", seq: 1, ids: [2], text: "hi", logprobs: [{ ...told("hi", -1), top: [] }] });
    job.done(2);
    await job.ack();
    const { choices } = await (await asked).json();
    const partly = { token: "\ufffd", bytes: [0xf0, 0x9f], logprob: -0.5 };
    assert.deepEqual(choices[0].logprobs, {
      content: [
        { ...partly, top_logprobs: [partly, body("no", -9999)] },
        { ...body("hi", -1), top_logprobs: [] },
      ],
      refusal: null,
    });
  });
});

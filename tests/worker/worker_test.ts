/** A worker on a real server: job, claim, tiles, tokens, done. How jobs end otherwise: endings_test.ts. */
import assert from "node:assert/strict";
import { Kvm } from "@nats-io/kv";
import { Announcement, decodeMessage, STEP_IN_LINE, WORKERS_BUCKET } from "@tessera/shared";
import { makeJob, makeTile, MODEL } from "./fake_edge.ts";
import { Stage, waitUntil } from "./stage.ts";

const textOf = (ids: readonly number[]) => String.fromCharCode(...ids);

Deno.test("worker: a job with pictures, from the queue to done", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker();
    const tiles = [await makeTile(1), await makeTile(2)];
    const job = await edge.ask("hello", tiles);
    const done = await job.done();

    assert.deepEqual(job.ids, stage.expectedIds(job.job, tiles));
    assert.equal(job.text, textOf(job.ids));
    assert.equal(done.finish_reason, "length");
    assert.equal(done.seq, 8);
    assert.deepEqual(job.claims.map(({ attempt, want }) => ({ attempt, want })), [
      { attempt: 1, want: tiles.map(({ hash }) => hash) },
    ]);
    // <|im_start|>system\n<|im_end|>\n<|im_start|>user\n, two pictures with \n, hello<|im_end|>\n<|im_start|>assistant\n
    assert.deepEqual(done.usage, { prompt_tokens: 39, completion_tokens: 8, image_tokens: 6, cached_tokens: 0 });
    await waitUntil(async () => await stage.numQueued() === 0, "the acknowledgement");
    await stage.settle(worker);
  }));

Deno.test("worker: a second question on the same picture wants no tile and computes only what is new", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker();
    const tiles = [await makeTile(1)];
    await (await edge.ask("hello", tiles)).done();
    const second = await edge.ask("us", tiles);
    const done = await second.done();
    assert.deepEqual(second.claims[0]?.want, []);
    assert.deepEqual(second.ids, stage.expectedIds(second.job, tiles));
    assert.equal(worker.engine.numCalls.encodeTiles, 1);
    assert.ok(done.usage.cached_tokens > 0);
    await stage.settle(worker);
  }));

Deno.test("worker: many jobs at once, some with the same picture, each as if alone", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker({ info: { numKvBlocks: 32 } });
    const tiles = await Promise.all([1, 2, 3].map(makeTile));
    const jobs = await Promise.all(Array.from({ length: 24 }, (_, i) =>
      edge.ask(`question ${i}`, i % 2 === 0 ? [tiles[i % 3]!] : [tiles[i % 3]!, tiles[(i + 1) % 3]!], {
        sampling: { temperature: i % 3, top_p: 1, top_k: 0, seed: i, max_tokens: 1 + i, stop: [] },
      })));
    for (const job of jobs) {
      await job.done();
      assert.deepEqual(job.ids, stage.expectedIds(job.job, job.tiles));
      worker.checkIntegrity();
    }
    await stage.settle(worker);
  }));

Deno.test("worker: tiles are encoded between steps in line, which never runs empty for them; one that fails costs its job", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const broken = await makeTile(9);
    const worker = await stage.worker({
      latency_ms: 2,
      fail: ({ kind, index }) => kind === "encodeTiles" && index >= 4 ? new Error("as told") : undefined,
    }, { maxSequences: 8 });
    const { engine } = worker;
    const long = await edge.ask("a long one", [], { sampling: { max_tokens: 80 } });
    await waitUntil(() => long.ids.length > 2, "the first tokens");
    const { numFromIdle } = engine;
    for (let i = 0; i < 4; i++) {
      const tile = await makeTile(i);
      const job = await edge.ask("and this", [tile], { sampling: { max_tokens: 1 } });
      await job.done();
      assert.deepEqual(job.ids, stage.expectedIds(job.job, [tile]));
    }
    const failed = await edge.ask("x", [broken]);
    const end = await failed.ended.promise;
    assert.equal(end.type === "error" && end.code, "internal_error");
    assert.ok(long.ids.length < 80, "the long answer ended too early to tell");
    assert.equal(engine.numCalls.encodeTiles, 5);
    assert.equal(engine.numFromIdle, numFromIdle);
    await long.done();
    assert.deepEqual(long.ids, stage.expectedIds(long.job));
    await stage.settle(worker);
  }));

Deno.test("worker: on a CPU nothing is put in line behind a step that takes long", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker({ latency_ms: STEP_IN_LINE.cpu.ms + 15, info: { device: "cpu" } });
    const job = await edge.ask("x", [], { sampling: { max_tokens: 8 } });
    await waitUntil(() => job.ids.length > 1, "the first tokens");
    const { numFromIdle } = worker.engine;
    await job.done();
    assert.ok(
      worker.engine.numFromIdle - numFromIdle >= 4,
      `${worker.engine.numFromIdle - numFromIdle} began on their own`,
    );
    assert.deepEqual(job.ids, stage.expectedIds(job.job));
    await stage.settle(worker);
  }));

Deno.test("worker: a stop string ends the answer and stays inside", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker();
    const sampling = { temperature: 0, top_p: 1, top_k: 0, seed: 0, max_tokens: 20, stop: [] as string[] };
    const all = textOf(stage.expectedIds(makeJob(edge.id, "x", [], { sampling })));
    const stop = all.slice(5, 8);
    const job = await edge.ask("x", [], { sampling: { ...sampling, stop: [stop] } });
    const done = await job.done();
    assert.equal(job.text, all.slice(0, all.indexOf(stop)));
    assert.equal(done.finish_reason, "stop");
    assert.equal(done.usage.completion_tokens, all.indexOf(stop) + 3);
    await stage.settle(worker);
  }));

Deno.test("worker: an end token ends the answer; without max_tokens the context does", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    let numTokens = 0;
    const worker = await stage.worker({ choose: () => ++numTokens === 4 ? 902 : 97 });
    const job = await edge.ask("x");
    assert.equal((await job.done()).finish_reason, "stop");
    assert.equal(job.text, "aaa");

    const sampling = { temperature: 0, top_p: 1, top_k: 0, seed: 0, max_tokens: null, stop: [] };
    const long = await edge.ask("x", [], { sampling });
    const done = await long.done();
    assert.equal(done.finish_reason, "length");
    assert.equal(done.usage.prompt_tokens + done.usage.completion_tokens, 128);
    await stage.settle(worker);
  }));

Deno.test("worker: a prompt that cannot fit is the caller's error", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker();
    const job = await edge.ask("x".repeat(200));
    const end = await job.ended.promise;
    assert.equal(end.type === "error" && end.code, "context_length_exceeded");
    assert.match(end.type === "error" ? end.message : "", /longer than the model's context: 128 tokens/);
    await waitUntil(async () => await stage.numQueued() === 0, "the acknowledgement");
    await stage.settle(worker);
  }));

Deno.test("worker: sampling at its limits does not upset the engine", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker();
    const sampling = { temperature: 1e-30, top_p: 1e-60, top_k: 2 ** 40, seed: 2 ** 53 - 1, max_tokens: 4, stop: [] };
    const job = await edge.ask("x", [], { sampling });
    await job.done();
    assert.deepEqual(job.ids, stage.expectedIds({ ...job.job, sampling: { ...job.job.sampling, temperature: 0 } }));
    await stage.settle(worker);
  }));

Deno.test("worker: announces itself, and takes it back when it closes", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker();
    const bucket = await new Kvm(edge.nc).open(WORKERS_BUCKET);
    const entry = await bucket.get(worker.workerId);
    const { draining, capacity, context_length, model } = decodeMessage(Announcement, entry!.value);
    assert.deepEqual({ draining, capacity, context_length, model }, {
      draining: false,
      capacity: 4,
      context_length: 128,
      model: MODEL,
    });
    await worker.close();
    assert.equal((await bucket.get(worker.workerId))?.operation, "DEL");
  }));

Deno.test("worker: a second question about a picture wants no tile, encodes nothing, computes only what is new", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const tile = await makeTile(1);
    let numTokens = 0;
    const worker = await stage.worker({ onStep: (batch) => numTokens += batch.tokenIds.length });
    const sampling = { max_tokens: 1 };
    const first = await (await edge.ask("x", [tile], { sampling })).done();
    const numEncoded = worker.engine.numCalls.encodeTiles;
    numTokens = 0;
    const second = await edge.ask("x and y", [tile], { sampling });
    const { usage } = await second.done();
    assert.deepEqual(second.claims.map(({ want }) => want), [[]]);
    assert.equal(worker.engine.numCalls.encodeTiles, numEncoded);
    assert.equal(usage.image_tokens, first.usage.image_tokens);
    assert.ok(usage.cached_tokens >= first.usage.prompt_tokens - 4 - 20, JSON.stringify(usage));
    assert.equal(numTokens, usage.prompt_tokens - usage.cached_tokens);
    await stage.settle(worker);
  }));

Deno.test("worker: several answers share a prompt, each with its own seed, text and end", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    let numTokens = 0;
    const worker = await stage.worker({ onStep: (batch) => numTokens += batch.tokenIds.length });
    const sampling = { temperature: 1, seed: 5, n: 3, max_tokens: 6, logprobs: 2 };
    const job = await edge.ask("tell me something", [], { sampling });
    const { usage } = await job.done();
    assert.equal(usage.completion_tokens, 18);
    // One prompt, and of it less than a block again for each further answer; the last token of each is not computed.
    assert.ok(numTokens < usage.prompt_tokens + 3 * 6 + 2 * 4, `${numTokens} tokens for ${usage.prompt_tokens}`);
    const choices = new Set<number>();
    const texts = ["", "", ""];
    for (const event of job.events) {
      if (event.type === "choice_done") choices.add(event.choice ?? 0);
      if (event.type === "tokens") {
        texts[event.choice ?? 0] += event.text;
        assert.equal(event.logprobs?.[0]?.top.length, 2);
      }
    }
    assert.deepEqual([...choices].sort(), [0, 1, 2]);
    assert.equal(new Set(texts).size, 3);
    assert.ok(texts.every((text) => text.length === 6));
    await stage.settle(worker);
  }));

Deno.test("worker: token ids that are in no vocabulary are the caller's error", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker();
    const job = await edge.ask("x", [], { sampling: { logit_bias: [[5_000, 1]] } });
    const end = await job.ended.promise;
    assert.deepEqual(end.type === "error" && [end.code, end.param], ["invalid_request", "logit_bias"]);
    await stage.settle(worker);
  }));

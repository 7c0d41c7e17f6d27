/** A worker on a real server: job, claim, tiles, tokens, done; and each way in which that goes wrong. */
import assert from "node:assert/strict";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { Announcement, decodeMessage, liveJobsSubject, WORKERS_BUCKET } from "@tessera/shared";
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

Deno.test("worker: cancelled mid-way, it stops and forgets", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker({ latency_ms: 5 });
    const sampling = { temperature: 0, top_p: 1, top_k: 0, seed: 0, max_tokens: 90, stop: [] };
    const job = await edge.ask("x", [await makeTile(1)], { sampling });
    await job.until(({ ids }) => ids.length >= 5);
    edge.cancel(job);
    await stage.settle(worker);
    assert.ok(job.ids.length < 60, `${job.ids.length} tokens were made`);
    assert.equal(await stage.numQueued(), 0);
  }));

Deno.test("worker: a job cancelled before it is pulled is never claimed", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker({ latency_ms: 5 }, { maxSequences: 1 });
    const first = await edge.ask("x", [], {
      sampling: { temperature: 0, top_p: 1, top_k: 0, seed: 0, max_tokens: 30, stop: [] },
    });
    const second = await edge.ask("y");
    edge.cancel(second);
    await first.done();
    await waitUntil(async () => await stage.numQueued() === 0, "both jobs to leave the queue");
    assert.equal(second.claims.length, 0);
    await stage.settle(worker);
  }));

Deno.test("worker: a refused claim drops the job", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge({ refuse: () => ({ v: 1, granted: false, reason: "gone" }) });
    const worker = await stage.worker();
    const job = await edge.ask("x");
    await job.until(({ claims }) => claims.length === 1);
    await waitUntil(async () => await stage.numQueued() === 0, "the acknowledgement");
    assert.deepEqual(job.events, []);
    await stage.settle(worker);
  }));

Deno.test("worker: what is no job is thrown out, and the next one runs", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker();
    await jetstream(edge.nc).publish(liveJobsSubject(MODEL), "{ no job");
    await jetstream(edge.nc).publish(liveJobsSubject(MODEL), JSON.stringify({ v: 1, id: "x" }));
    await (await edge.ask("x")).done();
    await waitUntil(async () => await stage.numQueued() === 0, "the queue to be empty");
    assert.equal(stage.lines.filter((line) => line.includes("job_unreadable")).length, 2);
    await stage.settle(worker);
  }));

Deno.test("worker: a tile that never comes, or is not what it says, ends the job with an error", () =>
  Stage.run(async (stage) => {
    const [missing, damaged] = [await makeTile(1), await makeTile(2)];
    const edge = await stage.edge({
      withhold: new Set([missing.hash]),
      pixelsOf: ({ hash, pixels }) => hash === damaged.hash ? pixels.map((byte) => byte ^ 1) : pixels,
    });
    const worker = await stage.worker({}, { waits: { tileMs: 200 } });
    for (const tile of [missing, damaged]) {
      const job = await edge.ask("x", [await makeTile(3), tile]);
      const end = await job.ended.promise;
      assert.equal(end.type === "error" && end.code, "internal_error");
      assert.equal(end.type === "error" && end.message, "Something went wrong inside the server.");
    }
    await waitUntil(async () => await stage.numQueued() === 0, "the acknowledgements");
    await stage.settle(worker);
  }));

Deno.test("worker: the deadline ends a job that runs", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge({ remainingMs: 150 });
    const worker = await stage.worker({ latency_ms: 20 });
    const sampling = { temperature: 0, top_p: 1, top_k: 0, seed: 0, max_tokens: 90, stop: [] };
    const job = await edge.ask("x", [], { sampling });
    const end = await job.ended.promise;
    assert.equal(end.type === "error" && end.code, "deadline_exceeded");
    await stage.settle(worker);
  }));

Deno.test("worker: a failed step is taken again; who fails twice is told, the others go on", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    // A batch with an exclamation mark fails.
    let isPoisoned = false;
    const worker = await stage.worker({
      latency_ms: 2,
      onStep: (batch) => isPoisoned = batch.tokenIds.includes(33),
      fail: ({ kind }) => kind === "step" && isPoisoned ? new Error("out of order") : undefined,
    });
    const sampling = { temperature: 0, top_p: 1, top_k: 0, seed: 0, max_tokens: 40, stop: [] };
    const good = await edge.ask("x", [], { sampling });
    await good.until(({ ids }) => ids.length >= 1);
    const bad = await edge.ask("x!");
    const end = await bad.ended.promise;
    assert.equal(end.type === "error" && end.code, "internal_error");
    await good.done();
    assert.deepEqual(good.ids, stage.expectedIds(good.job));
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

Deno.test("worker: an engine that only fails ends the worker, and what it has goes to another", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    let isBroken = false;
    const broken = await stage.worker({
      latency_ms: 2,
      fail: () => isBroken ? new Error("device lost") : undefined,
    }, { maxSequences: 8, waits: { ackMs: 60_000 } });
    const sampling = { temperature: 0, top_p: 1, top_k: 0, seed: 0, max_tokens: 60, stop: [] };
    const jobs = await Promise.all(Array.from({ length: 8 }, (_, i) => edge.ask(`x${i}`, [], { sampling })));
    for (const job of jobs) await job.until(({ ids }) => ids.length >= 1);
    isBroken = true;
    await assert.rejects(broken.ended, /4 engine calls failed/);
    await broken.close();
    const healthy = await stage.worker({}, { maxSequences: 8 });
    const ends = await Promise.all(jobs.map((job) => job.ended.promise));
    // Two were told before it was clear that it was not them.
    assert.equal(ends.filter(({ type }) => type === "done").length, 6);
    for (const job of jobs) assert.deepEqual(job.ids, stage.expectedIds(job.job).slice(0, job.ids.length));
    await stage.settle(healthy);
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

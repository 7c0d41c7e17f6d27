/** Durable jobs outlive whoever submitted them, the workers that run them and the server that keeps them. */
import { jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import {
  DEAD_STREAM,
  DEAD_WILDCARD,
  DURABLE_STREAM,
  Job,
  type JobRecord,
  JOBS_BUCKET,
  newId,
  NEWS_STREAM,
  sha256Hex,
  silentLogger,
  TILES_STREAM,
} from "@tessera/shared";
import assert from "node:assert/strict";
import { Bus } from "../../edge/dispatch/bus.ts";
import type { JobTile } from "../../edge/dispatch/running_job.ts";
import { DurableJobs } from "../../edge/jobs/durable_jobs.ts";
import { CRASH_MARK } from "../support/fake_worker_main.ts";
import { Fleet, until } from "../support/fleet.ts";

const TILE_SIZE = 28;

/** What submits jobs: an edge's part, which a test may end at any time. */
async function submitter(url: string): Promise<{ jobs: DurableJobs; bus: Bus }> {
  const bus = new Bus({ url, name: "submitter", log: silentLogger });
  bus.start();
  await until(() => bus.isConnected, "the bus");
  return { jobs: new DurableJobs(bus), bus };
}

async function makeTile(seed: number): Promise<JobTile> {
  const pixels = Uint8Array.from({ length: TILE_SIZE ** 2 * 3 }, (_, i) => (seed * 31 + i * 7) % 256);
  return { hash: await sha256Hex(pixels), size: TILE_SIZE, pixels };
}

function makeJob(
  text: string,
  tiles: readonly JobTile[],
  maxTokens: number,
  seed = 1,
  logprobs: number | null = null,
): Job {
  return Job.parse({
    v: 1,
    id: newId("job"),
    model: "fake",
    edge_id: "none",
    created_ms: Date.now(),
    messages: [{
      role: "user",
      parts: [...tiles.map((_, image) => ({ type: "image" as const, image })), { type: "text" as const, text }],
    }],
    images: tiles.map(({ hash }) => ({ width: 9, height: 9, cols: 1, rows: 1, tile_size: TILE_SIZE, tiles: [hash] })),
    sampling: { temperature: 1, top_p: 1, top_k: 0, seed, max_tokens: maxTokens, stop: [], logprobs },
  });
}

async function end(jobs: DurableJobs, id: string): Promise<JobRecord> {
  const record = await jobs.wait(id, AbortSignal.timeout(40_000));
  assert.ok(record !== null, `${id} is gone`);
  return record;
}

/** Messages in a stream. */
async function count(url: string, stream: string): Promise<number> {
  const nc = await connect({ servers: url });
  try {
    return (await (await jetstreamManager(nc)).streams.info(stream)).state.messages;
  } finally {
    await nc.close();
  }
}

Deno.test("durable: submitted, done, told; cancelled, expired and poisoned ones end as what they are", () =>
  Fleet.run(async (fleet) => {
    const { jobs, bus } = await submitter(fleet.nats.url);
    // Submitted before there is any worker.
    const tiles = await Promise.all([1, 2, 3].map(makeTile));
    const job = makeJob("what", tiles, 24);
    const queued = await jobs.submit(job, tiles, { metadata: { of: "a test" } });
    assert.equal(queued.status, "queued");
    assert.equal(await count(fleet.nats.url, TILES_STREAM), 3);
    // The same id twice is one job.
    await jobs.submit(job, tiles);
    assert.equal(await count(fleet.nats.url, DURABLE_STREAM), 1);
    const late = makeJob("late", [], 5);
    await jobs.submit(late, [], { expiresInMs: 1 });
    const left = makeJob("left", tiles, 5);
    await jobs.submit(left, tiles);
    assert.equal((await jobs.cancel(left.id))?.status, "canceled");
    assert.equal((await jobs.cancel(left.id))?.status, "canceled");

    await fleet.worker({ latencyMs: 5 });
    const done = await end(jobs, job.id);
    assert.equal(done.status, "succeeded");
    assert.deepEqual(done.metadata, { of: "a test" });
    assert.equal(done.usage?.completion_tokens, 24);
    assert.match(done.choices[0]!.text, /^[a-z]{24}$/);
    assert.equal((await end(jobs, late.id)).status, "expired");

    const running = makeJob("cancelled while it runs", [], 1_500);
    await jobs.submit(running, []);
    await until(async () => (await jobs.status(running.id))!.choices[0]!.ids.length > 0, "the first tokens");
    await jobs.cancel(running.id);
    const cancelled = await end(jobs, running.id);
    assert.equal(cancelled.status, "canceled");

    // More than one message holds; the text does not go with it.
    const wordy = makeJob("wordy", [], 1_500, 1, 20);
    await jobs.submit(wordy, []);
    const tooLarge = await end(jobs, wordy.id);
    assert.deepEqual([tooLarge.status, tooLarge.error?.code], ["failed", "request_too_large"]);

    const poison = makeJob(CRASH_MARK, [], 5);
    // Whoever finds the letter finds the job failed.
    const found: Promise<JobRecord | null>[] = [];
    bus.connection.subscribe(DEAD_WILDCARD, { callback: () => void found.push(jobs.status(poison.id)) });
    await jobs.submit(poison, []);
    let isOver = false;
    const reviving = (async () => {
      while (!isOver) await fleet.worker();
    })();
    const parked = await end(jobs, poison.id);
    isOver = true;
    assert.equal(parked.status, "failed");
    assert.equal(parked.error?.code, "worker_crashed");
    await until(async () => await count(fleet.nats.url, DEAD_STREAM) === 1, "the letter");
    await reviving;
    assert.deepEqual((await Promise.all(found)).map((record) => record?.status), ["failed"]);

    // Nothing is left but what was told: done (begun, ended), late, left, cancelled, wordy, poison (begun, ended each).
    await until(async () => await count(fleet.nats.url, DURABLE_STREAM) === 0, "the queue to be empty");
    await until(async () => await count(fleet.nats.url, TILES_STREAM) === 0, "the tiles to be dropped");
    assert.equal(await count(fleet.nats.url, NEWS_STREAM), 10);
    assert.equal(await jobs.remove(job.id), true);
    assert.equal(await jobs.status(job.id), null);
    assert.equal(await jobs.remove(job.id), false);
    await bus.close();
  }));

Deno.test("durable: the submitter, the worker and the server die, the answers are those of a quiet day", () =>
  Fleet.run(async (fleet) => {
    const victim = await fleet.worker({ latencyMs: 5 });
    const first = await submitter(fleet.nats.url);
    const tiles = await Promise.all([1, 2].map(makeTile));
    const batch = () =>
      Array.from({ length: 8 }, (_, i) => makeJob(`job ${i}`, i % 2 ? tiles : [], 300, i, i % 4 === 0 ? 1 : null));
    const submit = (jobs: DurableJobs, all: readonly Job[]) =>
      Promise.all(all.map((job) => jobs.submit(job, job.images.length > 0 ? tiles : [])));

    const quietJobs = batch();
    await submit(first.jobs, quietJobs);
    const quiet = await Promise.all(quietJobs.map(({ id }) => end(first.jobs, id)));

    const stormy = batch();
    await submit(first.jobs, stormy);
    await until(
      async () => (await first.jobs.status(stormy[0]!.id))!.choices[0]!.ids.length > 10,
      "the jobs to be under way",
    );
    await first.bus.close();
    victim.signal("SIGKILL");
    await fleet.restartNats();
    await fleet.worker({ latencyMs: 1 });
    const second = await submitter(fleet.nats.url);
    const ended = await Promise.all(stormy.map(({ id }) => end(second.jobs, id)));
    ended.forEach((record, i) => {
      assert.equal(record.status, "succeeded", JSON.stringify(record.error));
      assert.deepEqual(record.choices, quiet[i]!.choices);
      const { ids, logprobs } = record.choices[0]!;
      assert.equal(logprobs?.length, i % 4 === 0 ? ids.length : undefined);
    });
    assert.ok(ended.some((record) => record.attempt!.number > 1), "nobody went on");
    await second.bus.close();
  }));

Deno.test("durable: a job whose submitter was lost between state and queue is stored whole by the next", () =>
  Fleet.run(async (fleet) => {
    const { jobs, bus } = await submitter(fleet.nats.url);
    const tiles = [await makeTile(1)];
    const [whole, half] = [makeJob("whole", tiles, 8), makeJob("half", tiles, 8)];
    const record = await jobs.submit(whole, tiles);
    // The state alone, as a submitter leaves it that is killed a moment later.
    const bucket = await new Kvm(bus.connection).open(JOBS_BUCKET);
    await bucket.put(half.id, JSON.stringify({ ...record, id: half.id }));
    await jobs.submit(half, tiles);
    await jobs.submit(half, tiles);
    assert.equal(await count(fleet.nats.url, DURABLE_STREAM), 2);
    await fleet.worker();
    for (const { id } of [whole, half]) assert.equal((await end(jobs, id)).status, "succeeded");
    await bus.close();
  }));

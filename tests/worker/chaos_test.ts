/** Many jobs, few blocks, workers that come and go, clients that leave: who stays gets exactly the answer of a quiet day. */
import assert from "node:assert/strict";
import { CounterStream } from "../support/counter_random.ts";
import { type EdgeJob, makeTile } from "./fake_edge.ts";
import { Stage, type StagedWorker, waitUntil } from "./stage.ts";

const NUM_JOBS = 60;

for (const seed of [1, 2, 3]) {
  Deno.test(`chaos: nothing is lost, doubled or leaked (seed ${seed})`, () =>
    Stage.run(async (stage) => {
      const random = new CounterStream(seed, "chaos");
      let draws = 0;
      const below = (bound: number) => random.integer(draws++, bound);
      const edge = await stage.edge();
      const engine = { latency_ms: 1, info: { numKvBlocks: 40 } };
      const limits = { maxSequences: 6, waits: { ackMs: 1_000, progressMs: 200 } };
      const workers: StagedWorker[] = [await stage.worker(engine, limits), await stage.worker(engine, limits)];
      const tiles = await Promise.all([1, 2, 3, 4].map(makeTile));

      const jobs: EdgeJob[] = [];
      const cancelled = new Set<EdgeJob>();
      let numCrashes = 0;
      for (let i = 0; i < NUM_JOBS; i++) {
        const pictures = tiles.slice(0, below(4)).sort(() => below(2) - 0.5);
        const sampling = {
          temperature: below(2),
          top_p: 1,
          top_k: 0,
          seed: i,
          max_tokens: 1 + below(40),
          stop: [],
        };
        jobs.push(await edge.ask(`job ${"x".repeat(below(20))}`, pictures, { sampling }));
        if (below(6) === 0) {
          const victim = jobs[below(jobs.length)]!;
          cancelled.add(victim);
          edge.cancel(victim);
        }
        if (i === 20) {
          await workers.shift()!.crash();
          numCrashes += 1;
          workers.push(await stage.worker(engine, limits));
        }
        if (i === 40) {
          await workers.shift()!.close(0);
          workers.push(await stage.worker(engine, limits));
        }
        for (const worker of workers) worker.checkIntegrity();
        await new Promise((resolve) => setTimeout(resolve, below(20)));
      }

      for (const job of jobs) {
        const expected = stage.expectedIds(job.job, job.tiles);
        if (!cancelled.has(job)) await job.done();
        assert.deepEqual(job.ids, cancelled.has(job) ? expected.slice(0, job.ids.length) : expected);
        assert.equal(job.text, String.fromCharCode(...job.ids));
      }
      assert.equal(numCrashes, 1);
      await waitUntil(async () => await stage.numQueued() === 0, "the queue to be empty");
      await stage.settle(...workers);
    }));
}

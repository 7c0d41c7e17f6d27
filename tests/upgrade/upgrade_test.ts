/**
 * A fleet goes from the previous release to this one and back, part by part, under real processes of both: an edge of one
 * with a worker of the other, and what one has stored read by the other.
 */
import assert from "node:assert/strict";
import { Fleet, type Part, until } from "../support/fleet.ts";
import { askAll, assertSame } from "../support/fleet.ts";
import { questions } from "../support/fleet_client.ts";
import {
  askBothWays,
  askTheRest,
  leaveEarly,
  post,
  QUESTION,
  readBatchOutput,
  readCaption,
  readJson,
  readStream,
  runBatch,
  stream,
  submitCaption,
} from "./path.ts";
import { previousTree } from "./previous.ts";

const previous = await previousTree();
const isHere = typeof previous !== "string";
const name = (what: string) => isHere ? `upgrade: ${what}` : `upgrade: ${what} (not run: ${previous})`;

const SETTINGS = { latencyMs: 2, numKvBlocks: 4_096 };
/** Slow, and with room for half of what is asked: some answers are under way when a worker leaves, some jobs wait. */
const BUSY = { ...SETTINGS, latencyMs: 4, maxSequences: 8 };

async function leave(worker: Part): Promise<void> {
  worker.signal("SIGTERM");
  await worker.process.ended;
}

/** What the edge says of the version in which workers get their jobs. */
async function wireVersion(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(text.match(/^tessera_model_wire_version\{model="fake"\} (\d+)$/m)?.[1]);
}

Deno.test({
  name: name("workers first, then edges, then workers back: the whole path at every step"),
  ignore: !isHere,
  fn: (t) =>
    Fleet.run(async (fleet) => {
      if (!isHere) return;
      const oldWorker = await fleet.worker(SETTINGS, undefined, {}, previous);
      const oldEdge = await fleet.edge({}, previous);
      const quiet = await askBothWays(oldEdge.url);
      const caption = await submitCaption(oldEdge.url, 30);
      assert.equal(caption.status, "succeeded");
      const batch = await runBatch(oldEdge.url);
      const resumable = await stream(oldEdge.url, QUESTION, { "tessera-resumable": "true" });
      const key = { "idempotency-key": "once" };
      const once = await post(oldEdge.url, "chat/completions", QUESTION, key);

      const newWorker = await fleet.worker(SETTINGS);
      await leave(oldWorker);
      await t.step("edge of before, worker of now", async () => {
        assert.equal(await askBothWays(oldEdge.url), quiet);
        await askTheRest(oldEdge.url);
        await leaveEarly(oldEdge.url, newWorker);
        const again = await submitCaption(oldEdge.url, 30);
        assert.deepEqual([again.status, again.output], ["succeeded", caption.output]);
      });

      const newEdge = await fleet.edge();
      await t.step("what the edge of before has kept, read by that of now", async () => {
        const read = await readCaption(newEdge.url, caption.id);
        assert.deepEqual({ ...read, ...caption }, read);
        assert.equal(await readBatchOutput(newEdge.url, batch.id), batch.output);
        assert.equal((await post(newEdge.url, "chat/completions", QUESTION, key)).id, once.id);
        const taken = await fetch(`${newEdge.url}/v1/chat/completions/${resumable.id}/stream`);
        assert.equal((await readStream(taken)).text, resumable.text);
      });
      await t.step("both of now speak the version of now", async () => {
        assert.equal(await wireVersion(newEdge.url), 2);
        assert.equal(await askBothWays(newEdge.url), quiet);
        await askTheRest(newEdge.url);
      });

      const begun = await Promise.all([newEdge, oldEdge].map(({ url }) => submitCaption(url, 0, 800)));
      await until(() => Number(newWorker.last("worker_state")?.["num_jobs"]) === 2, "the worker to make both captions");
      await leave(newWorker);
      const workerAgain = await fleet.worker(SETTINGS, undefined, {}, previous);
      await t.step("captions begun by a worker of now, ended by one of before, read by the other edge", async () => {
        const [ofNew, ofOld] = await Promise.all([
          readCaption(oldEdge.url, begun[0]!.id, 30),
          readCaption(newEdge.url, begun[1]!.id, 30),
        ]);
        assert.deepEqual([ofNew.status, ofNew.usage?.completion_tokens], ["succeeded", 800]);
        assert.deepEqual([ofOld.status, ofOld.output, ofOld.metadata], [ofNew.status, ofNew.output, { order: "9" }]);
      });
      await t.step("edge of now, worker of before", async () => {
        assert.equal(await wireVersion(newEdge.url), 1);
        const { workers } = await readJson(newEdge.url, "fleet");
        assert.deepEqual(workers.map(({ wire_versions }: { wire_versions: number[] }) => wire_versions), [[1]]);
        assert.equal(await askBothWays(newEdge.url), quiet);
        await askTheRest(newEdge.url);
        await leaveEarly(newEdge.url, workerAgain);
        assert.equal((await runBatch(newEdge.url)).output.trimEnd().split("\n").length, 2);
      });
    }),
});

Deno.test({
  name: name("answers under way go on when their worker is replaced, be it by one of before or of now"),
  ignore: !isHere,
  fn: () =>
    Fleet.run(async (fleet) => {
      if (!isHere) return;
      let worker = await fleet.worker(BUSY);
      const [newEdge, oldEdge] = await Promise.all([fleet.edge(), fleet.edge({}, previous)]);
      const asked = questions(8, 400);
      const quiet = await Promise.all(askAll(newEdge.url, asked));
      const running = [...askAll(newEdge.url, asked), ...askAll(oldEdge.url, asked)];
      const inflight = async (url: string) => Number((await readJson(url, "fleet")).edge.inflight);
      for (const { url } of [newEdge, oldEdge]) await until(async () => await inflight(url) === 8, "all to be asked");
      for (const tree of [previous, undefined, previous]) {
        await until(() => Number(worker.last("worker_state")?.["num_jobs"] ?? 0) >= 8, "the worker to be full");
        const [next] = await Promise.all([fleet.worker(BUSY, undefined, {}, tree), leave(worker)]);
        worker = next;
      }
      assertSame("workers of two releases", await Promise.all(running), [...quiet, ...quiet]);
    }),
});

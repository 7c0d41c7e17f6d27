/** The worker as a process: it serves the bundled checkpoint, and ends as it is asked to. */
import assert from "node:assert/strict";
import { jetstreamManager } from "@nats-io/jetstream";
import {
  DURABLE_STREAM,
  durableConsumer,
  JOB_CLASSES,
  LIVE_STREAM,
  liveConsumer,
  MIN_CACHED_WEIGHT_BYTES,
  NUM_LANES,
} from "@tessera/shared";
import { openNativeEngine } from "../../gpu-worker/engine/native.ts";
import { connectNats } from "../../gpu-worker/intake/connect.ts";
import { supervise, type Supervised } from "../../infra/tools/process.ts";
import { makeJob } from "./fake_edge.ts";
import { Stage, waitUntil } from "./stage.ts";

const MAIN = new URL("../../gpu-worker/main.ts", import.meta.url).pathname;

function startMain(env: Record<string, string>): { process: Supervised; lines: string[] } {
  const lines: string[] = [];
  const args = ["run", "--allow-all", "--no-check", MAIN];
  const process = supervise(Deno.execPath(), args, {
    env: { TESSERA_SUPERVISED: "true", TESSERA_DEVICE: "cpu", TESSERA_LOG_FORMAT: "json", ...env },
    onLine: (line) => lines.push(line),
  });
  return { process, lines };
}

Deno.test("main: serves the bundled checkpoint until it is asked to stop", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const { process, lines } = startMain({ TESSERA_NATS_URL: stage.url, TESSERA_THREADS: "1" });
    try {
      await waitUntil(() => lines.some((line) => line.includes('"worker_ready"')), "the worker", 20_000);
      const base = makeJob(edge.id, "", [], { model: "internvl3-tiny" });
      const job = await edge.send({
        ...base,
        messages: [{ role: "user", parts: [{ type: "text", text: "Hello! Who are you?" }] }],
        sampling: { ...base.sampling, max_tokens: 24 },
      });
      const done = await job.done();
      assert.match(job.text, /[a-z]+ [a-z]+/);
      assert.equal(done.seq, job.ids.length);
    } finally {
      await process.stop(10_000);
    }
    const { code } = await process.ended;
    assert.equal(code, 0, lines.join("\n"));
    assert.ok(lines.some((line) => line.includes('"worker_closed"')));
  }));

Deno.test("main: makes the model's queues while its weights are still coming in", () =>
  Stage.run(async (stage) => {
    const bundled = new URL("../../gpu-worker/models/internvl3-tiny/", import.meta.url).pathname;
    const scratch = await Deno.makeTempDir();
    const folder = `${scratch}/slow-disk`;
    await Deno.mkdir(folder);
    for await (const { name } of Deno.readDir(bundled)) await Deno.symlink(bundled + name, `${folder}/${name}`);
    // Weights of large checkpoints are kept, and whoever finds another process writing them waits for it. What makes this
    // checkpoint large is a file that nobody reads, and the other process is this one.
    await Deno.writeFile(`${folder}/beside.safetensors`, new Uint8Array(0));
    await Deno.truncate(`${folder}/beside.safetensors`, MIN_CACHED_WEIGHT_BYTES);
    const cache = `${scratch}/kept`;
    await (await openNativeEngine({
      modelPath: folder,
      device: "cpu",
      dtype: "bf16",
      numThreads: 1,
      kvCacheBytes: 0,
      numTileSlots: 1,
      weightCache: { folder: cache, maxBytes: 2 ** 30 },
    })).close();
    const [kept] = [...Deno.readDirSync(cache)];
    await Deno.rename(`${cache}/${kept!.name}`, `${cache}/${kept!.name}.part`);
    using writing = await Deno.open(`${cache}/${kept!.name}.part`, { write: true });
    await writing.lock(true);
    const { process, lines } = startMain({
      TESSERA_NATS_URL: stage.url,
      TESSERA_MODEL: folder,
      TESSERA_WEIGHT_CACHE: cache,
    });
    const nc = await connectNats(stage.url, "looks on");
    try {
      const { consumers } = await jetstreamManager(nc);
      const isThere = (stream: string, name: string) => consumers.info(stream, name).then(() => true, () => false);
      for (const ofClass of JOB_CLASSES) {
        const name = liveConsumer("slow-disk", ofClass);
        await waitUntil(() => isThere(LIVE_STREAM, name), name, 20_000);
      }
      const lastLane = durableConsumer("slow-disk", NUM_LANES - 1);
      await waitUntil(() => isThere(DURABLE_STREAM, lastLane), lastLane, 20_000);
      assert.ok(!lines.some((line) => line.includes('"engine_open"')), lines.join("\n"));
      await writing.unlock();
      await waitUntil(() => lines.some((line) => line.includes('"worker_ready"')), "the worker", 20_000);
    } finally {
      await process.stop(0);
      await nc.close();
      await Deno.remove(scratch, { recursive: true });
    }
  }));

Deno.test("main: says what is wrong with its environment and ends", async () => {
  const { process, lines } = startMain({ TESSERA_NATS_URL: "", TESSERA_THREADS: "many" });
  const { code } = await process.ended;
  await process.stop(1_000);
  assert.equal(code, 2);
  assert.match(lines.join("\n"), /TESSERA_THREADS="many"/);
});

Deno.test("main: a checkpoint that is not there is an error, not a loop", async () => {
  const { process, lines } = startMain({ TESSERA_NATS_URL: "nats://127.0.0.1:1", TESSERA_MODEL: "no-such-model" });
  const { code } = await process.ended;
  await process.stop(1_000);
  assert.equal(code, 1);
  assert.match(lines.join("\n"), /Cannot find checkpoint no-such-model/);
});

/** What a worker tells Prometheus and whoever watches over it, over HTTP, after a job with a picture. */
import assert from "node:assert/strict";
import { makeTile } from "./fake_edge.ts";
import { Stage } from "./stage.ts";

Deno.test("worker: its metrics and probes", () =>
  Stage.run(async (stage) => {
    const edge = await stage.edge();
    const worker = await stage.worker({}, { metricsAddress: "127.0.0.1:0" });
    const at = `http://127.0.0.1:${worker.metricsPort}`;
    const done = await (await edge.ask("hello", [await makeTile(1)])).done();
    await stage.settle(worker);
    const text = await (await fetch(`${at}/metrics`)).text();
    const valueOf = (series: string) =>
      Number(text.split("\n").find((line) => line.startsWith(`${series} `))?.split(" ").at(-1));
    assert.match(
      text,
      /^tessera_worker_info\{worker_id="worker-\w+",model=".+",device="cuda",dtype=".+",isa=".+",wire_versions="1,2"\} 1$/m,
    );
    assert.equal(valueOf("tessera_tiles_encoded_total"), 1);
    assert.equal(valueOf('tessera_worker_jobs_total{outcome="length"}'), 1);
    assert.equal(valueOf('tessera_worker_tokens_total{kind="output"}'), done.usage.completion_tokens);
    assert.equal(valueOf("tessera_sampled_tokens_total"), done.usage.completion_tokens);
    const { prompt_tokens: input, completion_tokens: output } = done.usage;
    assert.equal(valueOf("tessera_step_tokens_total"), input + output - 1, "the last token is not computed with");
    assert.ok(valueOf("tessera_step_seconds_count") >= output);
    assert.equal(valueOf('tessera_worker_stage_seconds_count{stage="prefill"}'), 1);
    assert.equal(valueOf('tessera_worker_stage_seconds_count{stage="queue"}'), 1);
    assert.equal(valueOf("tessera_worker_sequences"), 0);
    assert.equal(valueOf("tessera_kv_blocks_free"), valueOf("tessera_kv_blocks"));
    for (const [path, status] of [["/healthz", 200], ["/readyz", 200], ["/else", 404]] as const) {
      const response = await fetch(`${at}${path}`);
      await response.body?.cancel();
      assert.equal(response.status, status, path);
    }
    const posted = await fetch(`${at}/metrics`, { method: "POST" });
    await posted.body?.cancel();
    assert.equal(posted.status, 405);
    await worker.close();
    await assert.rejects(fetch(`${at}/healthz`));
  }));

/** `tessera top` against an edge with a worker: what it prints once, and how a table of several looks. */
import assert from "node:assert/strict";
import { fleetLines, topCommand } from "../../infra/cli/top.ts";
import { FAKE_MODEL } from "../edge/fake_worker.ts";
import { withEdge } from "../edge/harness.ts";
import { Pace, parseMetrics } from "../../infra/cli/pace.ts";
import { captured } from "./captured.ts";

Deno.test("top: the fleet of a running edge, once", () =>
  withEdge({}, async ({ edge, ask, worker }) => {
    worker.serve(["Hello"]);
    await (await ask()).text();
    const { code, text } = await captured(() => topCommand(["--once", "--url", edge.url]));
    assert.equal(code, 0);
    const [about, answers, , head, row] = text.split("\n");
    assert.ok(about!.startsWith(edge.deps.dispatcher.edgeId), about);
    assert.match(
      answers!,
      /^1 answers {2}\d+ tokens {2}0 refusals {2}0 waiting {2}first token [\d.]+ \/ [\d.]+ {2}whole /,
    );
    assert.match(head!, /^MODEL +WORKER +LOAD/);
    assert.match(row!, new RegExp(`^${FAKE_MODEL} +\\S+ +0/\\d+ +·+ `));
  }));

Deno.test("top: the busiest of a model first; nothing of a name reaches the terminal as a command", () => {
  const worker = (id: string, running: number) => ({ id, model: "m", capacity: 4, running, draining: running === 0 });
  const edge = {
    id: "edge-1",
    draining: false,
    inflight: 3,
    held_bytes: 2 ** 21,
    tiles: { workers: 2, running: 1, queued: 5 },
  };
  const lines = fleetLines({ edge, workers: [worker("idle\x1b[2J", 0), worker("full", 4), worker("half", 2)] });
  assert.equal(lines[0], "edge-1  3 requests  2.0 MiB held  tiling 1 of 2, 5 waiting");
  assert.deepEqual(lines.slice(3).map((line) => line.split(/ +/)[1]), ["full", "half", "idle?[2J"]);
  assert.match(lines[4]!, / 2\/4 +█{6}·{6} /);
  assert.match(lines[5]!, /draining$/);
  assert.equal(fleetLines({ edge, workers: [] }).at(-1), "No worker lives that this edge can talk to.");
  const incompatible = [{ id: "w9", model: "m", wire_versions: [3, 4] }];
  const strange = fleetLines({ edge: { ...edge, wire_versions: [1, 2] }, workers: [], incompatible });
  assert.match(strange[0]!, / {2}wire 1,2$/);
  assert.equal(strange[2], "m  w9 gets nothing: it speaks wire 3,4");
});

Deno.test("top: rates and times are those since the last look", () => {
  const reading = (answers: number, counts: readonly number[]) =>
    parseMetrics([
      "# TYPE tessera_answers_total counter",
      `tessera_answers_total{model="a b",finish_reason="stop"} ${answers}`,
      `tessera_answers_total{model="a b",finish_reason="length"} 1`,
      ...["0.1", "0.2", "+Inf"].map((le, i) => `tessera_stage_seconds_bucket{le="${le}",stage="total"} ${counts[i]}`),
    ].join("\n"));
  const pace = new Pace();
  assert.match(pace.add(reading(9, [10, 10, 10]), 0), /^10 answers .* whole 50 \/ 90 ms/);
  // Ten more in two seconds, half of them between 100 and 200 ms.
  assert.match(pace.add(reading(19, [15, 20, 20]), 2_000), /^5\.0 answers\/s .* whole 100 \/ 180 ms/);
  assert.match(pace.add(reading(19, [15, 20, 20]), 30_000), /^0\.0 answers\/s .* whole - ms/);
});

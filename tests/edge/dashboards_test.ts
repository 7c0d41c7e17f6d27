/** Every metric of the dashboard, the alerts and the chart's scaling is one that an edge or a worker tells. */
import { ROOT } from "@tessera/infra/paths";
import assert from "node:assert/strict";
import { WorkerMetrics } from "../../gpu-worker/metrics/metrics.ts";
import { withEdge } from "./harness.ts";

const FILES = [
  "infra/grafana/tessera.json",
  "infra/prometheus/alerts.yaml",
  "infra/helm/tessera/templates/keda.yaml",
];
/** Values of the label. */
const STAGES: Readonly<Record<string, readonly string[]>> = {
  tessera_worker_stage_seconds: ["queue", "tiles", "wait", "vision", "prefill", "decode"],
  tessera_stage_seconds: [
    ...["fetch", "decode", "tile", "queue", "tiles", "wait", "vision", "prefill", "generate", "first_token", "total"],
  ],
};

/** Names with their types, as the text format declares them. */
function declared(text: string): Map<string, string> {
  return new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name!, type!]));
}

Deno.test("dashboard and alerts: what they read is told", () =>
  withEdge({}, async ({ edge }) => {
    const worker = new WorkerMetrics({ worker_id: "w" }, () => ({
      sequences: 0,
      jobs: 0,
      preemptions: 0,
      freeBlocks: 0,
      blocks: 0,
    }));
    const told = new Map([
      ...declared((await edge.deps.metrics.text()).text),
      ...declared((await worker.text()).text),
    ]);
    const read = new Set<string>();
    for (const file of FILES) {
      const text = await Deno.readTextFile(`${ROOT}/${file}`);
      const names = [...text.matchAll(/\btessera_[a-z_]+/g)].map(([name]) => name);
      assert.ok(names.length > 1, file);
      for (const [, name, stage] of text.matchAll(/\b(tessera_\w*stage_seconds)_bucket\{stage=\\?"(\w+)/g)) {
        assert.ok(STAGES[name!]!.includes(stage!), `${file} reads stage ${stage} of ${name}`);
      }
      for (const name of names) {
        const base = name.replace(/_(bucket|sum|count)$/, "");
        const isPart = base !== name && told.get(base) === "histogram";
        assert.ok(isPart || (told.has(name) && told.get(name) !== "histogram"), `${file} reads ${name}`);
        read.add(isPart ? base : name);
      }
    }
    assert.deepEqual([...told.keys()].filter((name) => !read.has(name)), [], "told, and read by nobody");
  }));

/** The fleet's page: workers, what they do, and what waits; asked for anew every other second while it is open. */
import { askJson } from "./api.ts";
import { byId, make } from "./dom.ts";

interface Fleet {
  readonly edge: {
    readonly id: string;
    readonly inflight: number;
    readonly held_bytes: number;
    readonly tiles: { readonly workers: number; readonly running: number; readonly queued: number };
  };
  readonly workers: readonly FleetWorker[];
}

interface FleetWorker {
  readonly id: string;
  readonly model: string;
  readonly device: string;
  readonly dtype: string;
  readonly capacity: number;
  readonly running: number;
  readonly draining: boolean;
  readonly [more: string]: unknown;
}

const EVERY_MS = 2_000;

/** Until `signal` aborts. */
export async function showFleet(signal: AbortSignal): Promise<void> {
  const page = byId("fleet", HTMLDivElement);
  while (!signal.aborted) {
    try {
      page.replaceChildren(...view(await askJson<Fleet>("v1/fleet", undefined, signal)));
    } catch (error) {
      if (signal.aborted) return;
      page.replaceChildren(make("p", { className: "bad" }, error instanceof Error ? error.message : String(error)));
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

function view({ edge, workers }: Fleet): HTMLElement[] {
  const capacity = workers.reduce((sum, worker) => sum + worker.capacity, 0);
  const running = workers.reduce((sum, worker) => sum + worker.running, 0);
  const facts: [string, string][] = [
    ["Workers", String(workers.length)],
    ["Sequences running", `${running} of ${capacity}`],
    ["Requests at this edge", String(edge.inflight)],
    ["Pictures waiting to be tiled", String(edge.tiles.queued)],
    ["Held by requests", `${(edge.held_bytes / 1024 / 1024).toFixed(1)} MiB`],
  ];
  const tiles = make(
    "dl",
    { className: "tiles" },
    ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
  );
  if (workers.length === 0) return [tiles, make("p", { className: "bad" }, "No worker is announced.")];
  const head = ["Worker", "Model", "Device", "Weights", "Load", "State"].map((name) => {
    const cell = make("th", {}, name);
    cell.scope = "col";
    return cell;
  });
  const rows = workers.map((worker) => {
    const load = make("meter", { max: worker.capacity, value: worker.running });
    load.setAttribute("aria-label", `${worker.running} of ${worker.capacity} sequences`);
    const state = worker.draining ? "draining" : "serving";
    return make(
      "tr",
      {},
      make("td", {}, make("code", {}, worker.id)),
      make("td", {}, worker.model),
      make("td", {}, worker.device),
      make("td", {}, worker.dtype),
      make("td", {}, load, ` ${worker.running} of ${worker.capacity}`),
      make("td", { className: worker.draining ? "" : "good" }, state),
    );
  });
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  const scroll = make("div", { className: "scroll", tabIndex: 0 }, table);
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Workers");
  return [tiles, scroll];
}

/** `tessera top`: the fleet live in the terminal, drawn anew every second; plain lines once where nobody watches. */
import { readEnv } from "@tessera/shared";
import { parseArgs } from "node:util";
import { write } from "../tools/terminal.ts";
import { ApiError, getJson } from "./client.ts";
import { Pace } from "./pace.ts";
import { UsageError, wholeNumber } from "./usage.ts";

const HELP = `Usage: deno task tessera top [options]

Options:
  --once                 print the fleet and end; so where the output is no terminal
  --interval <s>         seconds between two looks (default 1)
  --url <url>            server (TESSERA_URL)
`;

/** What `/v1/fleet` tells. */
export interface FleetView {
  readonly edge: {
    readonly id: string;
    readonly draining: boolean;
    readonly inflight: number;
    readonly held_bytes: number;
    readonly tiles: { readonly workers: number; readonly running: number; readonly queued: number };
    readonly wire_versions?: readonly number[];
  };
  /** Workers that speak no version of the edge. */
  readonly incompatible?: readonly {
    readonly id: string;
    readonly model: string;
    readonly wire_versions: readonly number[];
  }[];
  readonly workers: readonly {
    readonly id: string;
    readonly model: string;
    readonly capacity: number;
    readonly running: number;
    readonly queued?: number;
    readonly jobs_per_s?: number;
    readonly device?: string;
    readonly dtype?: string;
    readonly draining: boolean;
    readonly wire_versions?: readonly number[];
  }[];
}

/** Runs the command; returns the exit code. @throws ApiError, UsageError */
export async function topCommand(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      once: { type: "boolean", default: false },
      interval: { type: "string", default: "1" },
      url: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (positionals.length > 0) throw new UsageError(`top takes no ${positionals[0]}.\n\n${HELP}`);
  const intervalMs = wholeNumber("interval", values.interval, 1, 3600) * 1_000;
  const url = values.url ?? readEnv(["TESSERA_URL"], (name) => Deno.env.get(name)).TESSERA_URL;
  if (values.once || !Deno.stdout.isTerminal()) {
    console.log((await look(url, new Pace())).join("\n"));
    return 0;
  }
  await watch(url, intervalMs);
  return 0;
}

/** What is shown of the fleet now. */
async function look(url: string, pace: Pace): Promise<string[]> {
  const [fleet, answers] = await Promise.all([getJson<FleetView>(url, "/v1/fleet"), pace.read(url)]);
  return fleetLines(fleet, answers);
}

/** Draws on the terminal's other screen until Ctrl-C, which leaves the person's own as it was. */
async function watch(url: string, intervalMs: number): Promise<void> {
  const stopped = Promise.withResolvers<"stopped">();
  const pace = new Pace();
  const stop = () => stopped.resolve("stopped");
  Deno.addSignalListener("SIGINT", stop);
  write("\x1b[?1049h\x1b[?25l");
  try {
    for (;;) {
      const lines = await look(url, pace).catch((error) => {
        if (!(error instanceof ApiError)) throw error;
        // It may come back; what went wrong stands there until then.
        return [error.message];
      });
      const { columns, rows } = Deno.consoleSize();
      const clock = new Date().toLocaleTimeString();
      const shown = [`${url}  ${clock}  Ctrl-C ends`, "", ...lines].slice(0, rows - 1);
      write(`\x1b[H${shown.map((line) => `${line.slice(0, columns)}\x1b[K\n`).join("")}\x1b[J`);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const tick = new Promise<"tick">((resolve) => timer = setTimeout(() => resolve("tick"), intervalMs));
      const came = await Promise.race([tick, stopped.promise]);
      clearTimeout(timer);
      if (came === "stopped") return;
    }
  } finally {
    Deno.removeSignalListener("SIGINT", stop);
    write("\x1b[?25h\x1b[?1049l");
  }
}

const COLUMNS = ["MODEL", "WORKER", "LOAD", "", "QUEUE", "JOBS/S", "DEVICE", "WIRE", ""] as const;
const BAR_CHARS = 12;

/** The edge in a line or two, the workers as a table: busiest first within a model. */
export function fleetLines({ edge, workers, incompatible = [] }: FleetView, answers: string | null = null): string[] {
  const { tiles } = edge;
  const itself = [
    `${edge.id}${edge.draining ? " (draining)" : ""}`,
    `${edge.inflight} requests`,
    `${(edge.held_bytes / 2 ** 20).toFixed(1)} MiB held`,
    `tiling ${tiles.running} of ${tiles.workers}, ${tiles.queued} waiting`,
    ...(edge.wire_versions === undefined ? [] : [`wire ${edge.wire_versions.join()}`]),
  ].join("  ");
  const about = answers === null ? [itself] : [itself, answers];
  const strange = incompatible.map(({ model, id, wire_versions }) =>
    `${printable(model)}  ${printable(id)} gets nothing: it speaks wire ${wire_versions.join()}`
  );
  if (workers.length === 0) return [...about, "", ...strange, "No worker lives that this edge can talk to."];
  const sorted = workers.toSorted((a, b) =>
    a.model.localeCompare(b.model) || b.running / b.capacity - a.running / a.capacity || a.id.localeCompare(b.id)
  );
  const rows = sorted.map((worker) => [
    printable(worker.model),
    printable(worker.id),
    `${worker.running}/${worker.capacity}`,
    bar(worker.running / worker.capacity),
    String(worker.queued ?? "-"),
    worker.jobs_per_s?.toFixed(1) ?? "-",
    printable([worker.device, worker.dtype].filter((part) => part !== undefined).join(" ")),
    worker.wire_versions?.join() ?? "-",
    worker.draining ? "draining" : "",
  ]);
  const widths = COLUMNS.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) => cells.map((cell, i) => cell.padEnd(widths[i]!)).join("  ").trimEnd();
  return [...about, "", line(COLUMNS), ...rows.map(line), ...strange];
}

function bar(share: number): string {
  const numFull = Math.round(Math.min(1, Math.max(0, share)) * BAR_CHARS);
  return "█".repeat(numFull) + "·".repeat(BAR_CHARS - numFull);
}

/** Names come from other machines: nothing of them moves the cursor. */
function printable(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, "?");
}

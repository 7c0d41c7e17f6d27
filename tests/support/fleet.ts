/** A fleet of real processes that a chaos test breaks: nats-server, edges, workers with the fake engine; and clients. */
import { type NatsServerOptions, startNatsServer } from "@tessera/infra/nats";
import { ROOT } from "@tessera/infra/paths";
import { supervise, type Supervised } from "@tessera/infra/process";
import assert from "node:assert/strict";
import type { FakeWorkerSettings } from "./fake_worker_main.ts";
import { type ClientAnswer, type Question, readAnswer } from "./fleet_client.ts";

/** Shorter than in production, in the same proportions, so that a test waits seconds and not minutes. */
export const WAITS = { ackMs: 2_500, progressMs: 500, claimMs: 2_000, edgeGoneMs: 1_500 };
const READY_MS = 60_000;
const STOP_MS = 5_000;

/** Sources that parts of a fleet are started from. */
export interface Tree {
  readonly root: string;
  /** For `deno run`. */
  readonly args: readonly string[];
}
export const TODAY: Tree = { root: ROOT, args: [] };

/** One process of the fleet and what it logged. */
export interface Part {
  readonly process: Supervised;
  readonly lines: Record<string, unknown>[];
  signal(name: Deno.Signal): void;
  /** The latest line of that event. */
  last(event: string): Record<string, unknown> | undefined;
}

export interface EdgePart extends Part {
  readonly url: string;
}

export class Fleet {
  readonly #parts: Part[] = [];
  readonly #stops: (() => Promise<void>)[] = [];
  #nats: Awaited<ReturnType<typeof startNatsServer>>;
  readonly #storeDir: string;

  private constructor(nats: Fleet["nats"], storeDir: string) {
    this.#nats = nats;
    this.#storeDir = storeDir;
  }

  get nats(): Awaited<ReturnType<typeof startNatsServer>> {
    return this.#nats;
  }

  /** Runs a test on a fleet of its own; whatever happens, nothing of it stays. */
  static async run(body: (fleet: Fleet) => Promise<void>, nats: NatsServerOptions = {}): Promise<void> {
    const storeDir = await Deno.makeTempDir({ prefix: "tessera-chaos-" });
    const fleet = new Fleet(await startNatsServer({ ...nats, storeDir }), storeDir);
    try {
      await body(fleet);
    } catch (error) {
      const isTelling = (line: Record<string, unknown>) => !["info", "debug"].includes(String(line["level"]));
      const tail = fleet.#parts.map(({ lines }) =>
        lines.filter(isTelling).slice(-8).map((line) => JSON.stringify(line).slice(0, 500)).join("\n")
      );
      throw new Error(`${error instanceof Error ? error.stack : error}\n${tail.join("\n\n")}`);
    } finally {
      await Promise.all(fleet.#stops.map((stop) => stop()));
      await fleet.#nats.stop();
      await Deno.remove(storeDir, { recursive: true }).catch(() => {});
    }
  }

  /** Kills the server as a crash does and starts it anew at once, on the same port, with what it had on disk. */
  async restartNats(): Promise<void> {
    const port = Number(new URL(this.#nats.url).port);
    this.#nats.kill();
    await this.#nats.stop();
    this.#nats = await startNatsServer({ port, storeDir: this.#storeDir });
  }

  /** Starts a worker and waits until it serves. */
  async worker(
    settings: FakeWorkerSettings = {},
    natsUrl: string = this.#nats.url,
    env: Record<string, string> = {},
    tree: Tree = TODAY,
  ): Promise<Part> {
    const part = this.#start(tree, "tests/support/fake_worker_main.ts", {
      TESSERA_NATS_URL: natsUrl,
      TESSERA_DRAIN_MS: "0",
      FAKE_WORKER: JSON.stringify({ waits: WAITS, ...settings }),
      ...env,
    });
    await until(() => part.last("worker_ready") !== undefined, "the worker", READY_MS);
    return part;
  }

  /** Starts a worker as users do, with the embedded model, and waits until it serves. */
  async realWorker(env: Record<string, string> = {}): Promise<Part> {
    const part = this.#start(TODAY, "gpu-worker/main.ts", {
      TESSERA_NATS_URL: this.#nats.url,
      TESSERA_DRAIN_MS: "0",
      TESSERA_THREADS: "1",
      TESSERA_LOG_FORMAT: "json",
      TESSERA_SUPERVISED: "true",
      ...env,
    });
    await until(() => part.last("worker_ready") !== undefined, "the worker", READY_MS);
    return part;
  }

  /** Starts an edge and waits until it is ready, which needs a worker. */
  async edge(env: Record<string, string> = {}, tree: Tree = TODAY): Promise<EdgePart> {
    const part = this.#start(tree, "edge/main.ts", {
      TESSERA_NATS_URL: this.#nats.url,
      TESSERA_PORT: "0",
      TESSERA_TILE_WORKERS: "1",
      TESSERA_DRAIN_MS: "0",
      TESSERA_LOG_LEVEL: "debug",
      TESSERA_LOG_FORMAT: "json",
      TESSERA_SUPERVISED: "true",
      ...env,
    });
    await until(() => part.last("listening") !== undefined, "the edge", READY_MS);
    const url = String(part.last("listening")!["url"]);
    const isReady = async () => {
      const response = await fetch(`${url}/readyz`);
      await response.body?.cancel();
      return response.ok;
    };
    await until(isReady, "the edge to be ready", READY_MS);
    return { ...part, url };
  }

  /** Starts any other process of a tree. */
  process(tree: Tree, entry: string, env: Record<string, string> = {}): Part {
    return this.#start(tree, entry, env);
  }

  #start(tree: Tree, entry: string, env: Record<string, string>): Part {
    const lines: Record<string, unknown>[] = [];
    const process = supervise(Deno.execPath(), [
      "run",
      "--allow-all",
      "--no-check",
      ...tree.args,
      `${tree.root}/${entry}`,
    ], {
      env,
      onLine: (line) => lines.push(line.startsWith("{") ? JSON.parse(line) : { line }),
    });
    const part: Part = {
      process,
      lines,
      signal: (name) => Deno.kill(process.pid, name),
      last: (event) => lines.findLast((line) => line["event"] === event),
    };
    this.#parts.push(part);
    this.#stops.push(() => process.stop(STOP_MS));
    return part;
  }
}

/** Asks all questions at once. */
export function askAll(url: string, questions: readonly Question[]): Promise<ClientAnswer>[] {
  return questions.map((question) => readAnswer(url, question));
}

/** Every answer is whole, and the text what it is on a quiet day. Reports the longest silence a client saw. */
export function assertSame(what: string, answers: readonly ClientAnswer[], quiet: readonly ClientAnswer[]): void {
  answers.forEach((answer, i) => {
    assert.equal(answer.error, null, `answer ${i}: ${answer.error}`);
    assert.equal(answer.text, quiet[i]!.text, `answer ${i}`);
    assert.ok(answer.isDone, `answer ${i} has no [DONE]`);
  });
  const gaps = answers.map(({ longestGapMs }) => longestGapMs).sort((a, b) => a - b);
  const median = gaps[gaps.length >> 1]!;
  console.log(`${what}: longest silence of a stream ${ms(gaps.at(-1)!)}, median ${ms(median)}, ${gaps.length} streams`);
}

export async function until(holds: () => boolean | Promise<boolean>, what: string, limitMs = 20_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!await Promise.resolve().then(holds).catch(() => false)) {
    assert.ok(performance.now() < end, `waited too long for ${what}`);
    await pause(20);
  }
}

/** Jobs that a worker said it has, when it last spoke. */
export function numJobs(part: Part): number {
  return Number(part.last("worker_state")?.["num_jobs"] ?? 0);
}

/** The one with most jobs, by what each says from now on: what it said last may be of before. */
export async function busiest(workers: readonly Part[]): Promise<Part> {
  const numLines = workers.map(({ lines }) => lines.length);
  const hasSpoken = ({ lines }: Part, i: number) =>
    lines.slice(numLines[i]).some(({ event }) => event === "worker_state");
  await until(() => workers.every(hasSpoken), "the workers to say what they have");
  return workers.toSorted((a, b) => numJobs(b) - numJobs(a))[0]!;
}

export function pause(forMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, forMs));
}

function ms(value: number): string {
  return `${(value / 1_000).toFixed(2)} s`;
}

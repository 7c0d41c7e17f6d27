/** Load at twice the capacity with clients that leave, bad requests and workers that die; then: is anything left, was anything lost? */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import assert from "node:assert/strict";
import { CounterStream } from "../support/counter_random.ts";
import { bodyOf } from "../support/fleet_client.ts";
import { WORKERS_BUCKET } from "@tessera/shared";
import { type EdgePart, Fleet, type Part, pause, until } from "../support/fleet.ts";

/** Workers that are restarted in turn, and one that lives through it all: twice as many clients as places are kept busy. */
const NUM_WORKERS = 3;
const SEQUENCES_PER_WORKER = 8;
const NUM_CLIENTS = 2 * NUM_WORKERS * SEQUENCES_PER_WORKER;
const RESTART_EVERY_MS = 4_000;
/**
 * Load before the levels are taken: a tenth of the whole, a minute of ten. A heap grows for so long until its collector has
 * seen the load; what it holds then is what the load needs, and what comes on top in the rest would be a leak.
 */
const WARM_UP_SHARE = 0.1;
const MIN_WARM_UP_S = 3;
/** Longest a request may take, in seconds in which this process ran: many times what a full queue needs. */
const STUCK_S = 60;
const STUCK_MS = STUCK_S * 1_000;
/** What a runtime may keep on top: collections come when they come. */
const MAX_GROWTH_BYTES = 96 * 1024 * 1024;
/** Who asks, and how urgently. */
const KEYS = ["a", "a", "a", "b", null] as const;
const TIERS = ["default", "default", "flex", "priority"] as const;

/** What can become of a request; exactly one of them does. */
const OUTCOMES = ["answered", "left", "refused", "bad", "failed", "stuck", "wrong"] as const;
export type Outcome = (typeof OUTCOMES)[number];

interface Levels {
  /** Resident: of the edge, of the worker that is never restarted, of nats-server. */
  readonly edgeBytes: number;
  readonly workerBytes: number;
  readonly busBytes: number;
  readonly consumers: number;
  /** Of all streams and buckets. */
  readonly subjects: number;
  readonly messages: number;
  readonly subscriptions: number;
}

export interface SoakReport {
  readonly numSent: number;
  readonly outcomes: Record<Outcome, number>;
  readonly numRestarts: number;
  readonly before: Levels;
  readonly after: Levels;
  readonly failures: readonly string[];
}

/** Runs the load and checks what is left. @throws when something is */
export async function soak(seconds: number): Promise<SoakReport> {
  let report: SoakReport | null = null;
  await Fleet.run(async (fleet) => {
    report = await run(fleet, seconds);
    check(report);
  }, { args: ["--http_port", "-1"] });
  return report!;
}

async function run(fleet: Fleet, seconds: number): Promise<SoakReport> {
  const settings = { latencyMs: 4, maxSequences: SEQUENCES_PER_WORKER, numKvBlocks: 96 };
  const steady = await fleet.worker(settings);
  const workers = await Promise.all(Array.from({ length: NUM_WORKERS - 1 }, () => fleet.worker(settings)));
  const edge = await fleet.edge({ TESSERA_LOG_LEVEL: "info", TESSERA_MAX_INFLIGHT: String(NUM_CLIENTS - 4) });
  const load = new Load(edge.url);
  await load.run(1_000 * Math.max(MIN_WARM_UP_S, seconds * WARM_UP_SHARE));
  const before = await settled(fleet, edge, [steady, ...workers]);

  load.reset();
  let numRestarts = 0;
  const loading = load.run(seconds * 1_000);
  const end = performance.now() + seconds * 1_000;
  while (performance.now() + RESTART_EVERY_MS < end) {
    await pause(RESTART_EVERY_MS);
    // In turn by force and as asked: a worker that is asked to stop gives back what it has.
    const victim = workers.shift()!;
    victim.signal(numRestarts % 2 === 0 ? "SIGKILL" : "SIGTERM");
    workers.push(await fleet.worker(settings));
    numRestarts += 1;
  }
  await loading;
  const after = await settled(fleet, edge, [steady, ...workers]);
  return { numSent: load.numSent, outcomes: load.outcomes, numRestarts, before, after, failures: load.failures };
}

function check({ numSent, outcomes, before, after, failures }: SoakReport): void {
  assert.equal(Object.values(outcomes).reduce((sum, count) => sum + count, 0), numSent, "each request has one outcome");
  assert.equal(outcomes.stuck + outcomes.wrong + outcomes.failed, 0, failures.join("\n"));
  assert.ok(outcomes.answered > 0 && outcomes.left > 0 && outcomes.bad > 0, JSON.stringify(outcomes));
  assert.equal(after.messages, 0, "jobs are left in the queue");
  assert.equal(after.consumers, before.consumers, "consumers");
  assert.equal(after.subscriptions, before.subscriptions, "subscriptions");
  assert.equal(after.subjects, before.subjects, "subjects");
  for (const part of ["edgeBytes", "workerBytes", "busBytes"] as const) {
    assert.ok(after[part] - before[part] < MAX_GROWTH_BYTES, `${part} ${before[part]} -> ${after[part]}`);
  }
}

/** Waits until nobody has anything to do, then counts what there is. */
async function settled(fleet: Fleet, edge: EdgePart, workers: readonly Part[]): Promise<Levels> {
  // The worker checks its blocks and slots each time it tells its state, and ends where they are not in order.
  const isIdle = (worker: Part) => worker.last("worker_state")?.["is_idle"] === true;
  await until(() => workers.every(isIdle), "the workers to be idle", STUCK_MS);
  const nc = await connect({ servers: fleet.nats.url });
  try {
    const manager = await jetstreamManager(nc);
    const streams = async () => await manager.streams.list().next();
    // A worker that died takes its announcement with it after a while, and the server its subscriptions at once.
    const numJobs = async () =>
      (await streams()).filter(({ config }) => config.name === "TESSERA_LIVE")
        .reduce((sum, { state }) => sum + state.messages, 0);
    await until(async () => await numJobs() === 0, "the queue to be empty", STUCK_MS);
    let consumers = 0;
    let subjects = 0;
    // The announcement of a worker that was killed goes by itself a little later.
    const numAnnounced = async () =>
      (await manager.streams.info(`KV_${WORKERS_BUCKET}`, { subjects_filter: ">" })).state.num_subjects ?? 0;
    await until(async () => await numAnnounced() <= workers.length, "announcements to go", STUCK_MS);
    for (const { config, state } of await streams()) {
      subjects += state.num_subjects ?? 0;
      // The own queue of a worker that was killed goes by itself after half a minute.
      const names = (await manager.consumers.list(config.name).next()).map(({ name }) => name);
      consumers += names.filter((name) => !name.startsWith("for_")).length;
    }
    // Those of clients: the server has its own for each consumer.
    const { connections } = await (await fetch(`${fleet.nats.monitoringUrl}/connz`)).json() as {
      connections: { subscriptions: number }[];
    };
    const numSubscriptions = connections.reduce((sum, { subscriptions }) => sum + subscriptions, 0);
    const [steady] = workers;
    return {
      edgeBytes: await residentBytes(edge.process.pid),
      workerBytes: await residentBytes(steady!.process.pid),
      busBytes: await residentBytes(fleet.nats.serverPid),
      consumers,
      subjects,
      messages: await numJobs(),
      subscriptions: numSubscriptions,
    };
  } finally {
    await nc.close();
  }
}

async function residentBytes(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`).catch(() => "");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

/** Clients that ask one thing after another, each with a mind of its own. */
class Load {
  readonly #url: string;
  readonly #random = new CounterStream(1, "soak");
  #draws = 0;
  /** Answers by what was asked: the same question gets the same answer, whatever happens. */
  readonly #answers = new Map<string, string>();
  /** Called every second, of each request under way. */
  readonly #waiting = new Set<() => void>();
  numSent = 0;
  outcomes: Record<Outcome, number> = Load.#none();
  failures: string[] = [];

  constructor(url: string) {
    this.#url = url;
  }

  static #none(): Record<Outcome, number> {
    return Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as Record<Outcome, number>;
  }

  reset(): void {
    this.numSent = 0;
    this.outcomes = Load.#none();
    this.failures = [];
  }

  async run(forMs: number): Promise<void> {
    const end = performance.now() + forMs;
    // Counted, not measured: a machine that was suspended has not made anybody wait.
    const ticking = setInterval(() => this.#waiting.forEach((tick) => tick()), 1_000);
    const client = async () => {
      while (performance.now() < end) {
        this.numSent += 1;
        const outcome = await this.#ask().catch((error) => this.#fail("failed", String(error)));
        this.outcomes[outcome] += 1;
        if (outcome === "refused") await pause(this.#below(200));
      }
    };
    await Promise.all(Array.from({ length: NUM_CLIENTS }, client));
    clearInterval(ticking);
  }

  #below(bound: number): number {
    return this.#random.integer(this.#draws++, bound);
  }

  async #ask(): Promise<Outcome> {
    const kind = this.#below(10);
    const question = { text: `q${this.#below(20)}`, seed: this.#below(3), temperature: this.#below(2), maxTokens: 40 };
    const stop = new AbortController();
    const { signal } = stop;
    let secondsLeft = STUCK_S;
    const tick = () => --secondsLeft === 0 && stop.abort();
    this.#waiting.add(tick);
    const leaving = kind < 2 ? setTimeout(() => stop.abort(), this.#below(400)) : undefined;
    const requestId = `soak-${this.#draws}`;
    const key = KEYS[this.#below(KEYS.length)]!;
    const service_tier = TIERS[this.#below(TIERS.length)];
    const wrong = kind === 9 ? { temperature: -1 } : {};
    const body = JSON.stringify({ ...bodyOf(question, kind % 2 === 0), service_tier, ...wrong });
    try {
      const response = await fetch(`${this.#url}/v1/chat/completions`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "x-request-id": requestId,
          ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        },
        body,
        signal,
      });
      const text = await response.text();
      if (kind === 9) return response.status === 400 || response.status === 429 ? "bad" : this.#fail("failed", text);
      if (response.status === 429 || response.status === 503) return "refused";
      if (response.status !== 200) return this.#fail("failed", text);
      return this.#judge(JSON.stringify(question), contentOf(text), text);
    } catch (error) {
      if (secondsLeft === 0) return this.#fail("stuck", `${requestId} of ${key}, ${body}`);
      if (signal.aborted) return "left";
      throw error;
    } finally {
      this.#waiting.delete(tick);
      clearTimeout(leaving);
    }
  }

  #judge(question: string, content: string | null, text: string): Outcome {
    if (content === null) return this.#fail("failed", text);
    const known = this.#answers.get(question);
    this.#answers.set(question, content);
    return known === undefined || known === content ? "answered" : this.#fail("wrong", `${known}\n${content}`);
  }

  #fail(outcome: Outcome, text: string): Outcome {
    this.failures.push(`${outcome}: ${text.slice(-300)}`);
    return outcome;
  }
}

/** The words of a whole answer, streamed or not; null when it is not whole. */
function contentOf(text: string): string | null {
  if (text.startsWith("{")) return JSON.parse(text).choices?.[0]?.message.content ?? null;
  if (!text.trimEnd().endsWith("data: [DONE]")) return null;
  return text.split("\n").filter((line) => line.startsWith("data: {"))
    .map((line) => JSON.parse(line.slice("data: ".length)).choices[0]?.delta.content ?? "").join("");
}

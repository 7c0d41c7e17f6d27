/** Whose turn it is, over two edges and a real nats-server: no flood of one key, and no crowd of later ones, holds up others. */
import { Job, newId, silentLogger } from "@tessera/shared";
import assert from "node:assert/strict";
import { Bus } from "../../edge/dispatch/bus.ts";
import { DurableJobs } from "../../edge/jobs/durable_jobs.ts";
import { type EdgePart, Fleet, until } from "../support/fleet.ts";

/** Of each edge; many times what the worker runs at once. */
const NUM_FLOOD = 24;
const CAPACITY = 2;

/** Answers in the order in which they came, by who asked. */
class Clients {
  readonly done: string[] = [];

  async ask(edge: EdgePart, who: string, more: Record<string, unknown> = {}): Promise<{ code?: string }> {
    const response = await fetch(`${edge.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${who}` },
      body: JSON.stringify({
        model: "fake",
        messages: [{ role: "user", content: `${who} ${this.done.length}` }],
        max_completion_tokens: 8,
        ignore_eos: true,
        ...more,
      }),
      signal: AbortSignal.timeout(60_000),
    });
    const json = await response.json();
    this.done.push(who);
    return json.error ?? {};
  }

  /** Answers of `who` since the first `from` of all. */
  since(from: number, who: string): number {
    return this.done.slice(from).filter((each) => each === who).length;
  }
}

/** Runs `body` while both edges are full of questions of one key. */
async function amidFlood(
  more: Record<string, unknown>,
  body: (clients: Clients, edges: readonly [EdgePart, EdgePart]) => Promise<void>,
): Promise<void> {
  await Fleet.run(async (fleet) => {
    await fleet.worker({ latencyMs: 10, maxSequences: CAPACITY });
    const edges = await Promise.all([fleet.edge(), fleet.edge()]);
    const clients = new Clients();
    const flood = edges.flatMap((edge) => Array.from({ length: NUM_FLOOD }, () => clients.ask(edge, "flood", more)));
    const isFull = ({ lines }: EdgePart) => lines.filter(({ event }) => event === "job_started").length === NUM_FLOOD;
    await until(() => edges.every(isFull) && clients.done.length > 0, "the flood");
    await body(clients, edges);
    assert.ok(clients.since(0, "flood") < flood.length, "the flood was over before");
    for (const error of await Promise.all(flood)) assert.equal(error.code, undefined, JSON.stringify(error));
  });
}

Deno.test("fair: a key that asks now and then is served amid another's flood over both edges", () =>
  amidFlood({}, async (clients, [edge]) => {
    for (let i = 0; i < 2; i++) {
      const before = clients.done.length;
      assert.deepEqual(await clients.ask(edge, "trickle"), {});
      // What ran, and what each edge had in the stream already: not what waits at the edges.
      const ahead = clients.since(before, "flood");
      assert.ok(ahead <= CAPACITY + 2 * 4 + CAPACITY, `${ahead} of the flood came first`);
    }
  }));

Deno.test("fair: urgent and usual questions do not wait for later ones, deadlines hold in the queue", () =>
  amidFlood({ service_tier: "flex" }, async (clients, edges) => {
    for (const [i, tier] of ["priority", "default"].entries()) {
      const before = clients.done.length;
      assert.deepEqual(await clients.ask(edges[i]!, "flood ", { service_tier: tier }), {});
      const ahead = clients.since(before, "flood");
      // It takes a place; those in the others' end meanwhile.
      assert.ok(ahead <= 2 * CAPACITY, `${ahead} of the flood came before ${tier}`);
    }
    const late = await clients.ask(edges[0]!, "flood ", { priority: 1_000, deadline_ms: 30 });
    assert.equal(late.code, "deadline_exceeded");
  }));

Deno.test("fair: a durable job of another key does not wait for a thousand of one", () =>
  Fleet.run(async (fleet) => {
    const worker = await fleet.worker({ latencyMs: 10, maxSequences: CAPACITY });
    const bus = new Bus({ url: fleet.nats.url, name: "submitter", log: silentLogger });
    bus.start();
    try {
      await until(() => bus.isConnected, "the bus");
      const jobs = new DurableJobs(bus);
      const submit = (tenant: string) => jobs.submit(durableJob(tenant), []);
      const flood = Array.from({ length: 1_000 }, () => () => submit("flood"));
      await Promise.all(Array.from({ length: 16 }, async () => {
        for (let next = flood.pop(); next !== undefined; next = flood.pop()) await next();
      }));
      const numDone = () => worker.lines.filter(({ event }) => event === "job_done").length;
      const before = numDone();
      const { id } = await submit("trickle");
      const record = await jobs.wait(id, AbortSignal.timeout(60_000));
      assert.equal(record?.status, "succeeded", JSON.stringify(record));
      const ahead = worker.lines.filter(({ event }) => event === "job_done").slice(before)
        .findIndex((line) => line["job_id"] === id);
      assert.ok(ahead >= 0 && ahead <= 4 * CAPACITY, `${ahead} of the flood were done first`);
      assert.ok(before < 900, "the flood was over before");
    } finally {
      await bus.close();
    }
  }));

function durableJob(tenant: string): Job {
  return Job.parse({
    v: 1,
    id: newId("job"),
    model: "fake",
    edge_id: "none",
    created_ms: 0,
    tenant,
    messages: [{ role: "user", parts: [{ type: "text", text: "x" }] }],
    images: [],
    sampling: { temperature: 0, top_p: 1, top_k: 0, seed: 1, max_tokens: 8, stop: [], ignore_eos: true },
  });
}

/** Who is sent next: by priority, then by what a tenant has had; and that nobody is forgotten. */
import assert from "node:assert/strict";
import { Backlog, type Turn, turnOfJob } from "./backlog.ts";
import { Sampling } from "@tessera/shared";

interface Waiting {
  readonly turn: Turn;
  readonly name: string;
}

const job = (name: string, tenant: string, more: Partial<Turn> = {}): Waiting => ({
  name,
  turn: { model: "m", priority: 0, tenant, cost: 10, ...more },
});

/** Takes jobs as the bus would: whatever may go goes, and the oldest of those sent is claimed. */
function order(backlog: Backlog<Waiting>, numAhead: number): string {
  const names: string[] = [];
  const sent: Waiting[] = [];
  for (;;) {
    for (let next = backlog.next(); next !== null; next = backlog.next()) sent.push(next);
    const claimed = sent.shift();
    if (claimed === undefined) return names.join(" ");
    assert.ok(sent.length <= numAhead);
    names.push(claimed.name);
    backlog.leave(claimed);
  }
}

Deno.test("backlog: a tenant that comes late waits for what is sent already, not for what others have waiting", () => {
  const backlog = new Backlog<Waiting>(() => 2);
  for (let i = 0; i < 8; i++) backlog.add(job(`a${i}`, "a"));
  assert.equal(backlog.next()!.name, "a0");
  assert.equal(backlog.next()!.name, "a1");
  assert.equal(backlog.next(), null);
  backlog.add(job("b0", "b"));
  backlog.add(job("b1", "b"));
  assert.equal(backlog.next()!.name, "b0", "who has nothing sent goes at once");
  assert.equal(backlog.next(), null);
  assert.equal(backlog.numWaiting, 7);
});

Deno.test("backlog: shares are of tokens, in turns, and nothing is saved up", () => {
  const backlog = new Backlog<Waiting>(() => 1);
  for (let i = 0; i < 6; i++) backlog.add(job(`a${i}`, "a"));
  for (let i = 0; i < 3; i++) backlog.add(job(`b${i}`, "b", { cost: 30 }));
  assert.equal(order(backlog, 2), "a0 b0 a1 a2 a3 b1 a4 a5 b2");
  assert.equal(backlog.numWaiting, 0);
});

Deno.test("backlog: the smallest priority first, and a later class never fills the place of an earlier one", () => {
  const backlog = new Backlog<Waiting>(() => 2);
  for (let i = 0; i < 4; i++) backlog.add(job(`late${i}`, "a", { priority: 5 }));
  assert.deepEqual([backlog.next()!.name, backlog.next()!.name, backlog.next()], ["late0", "late1", null]);
  backlog.add(job("usual", "a"));
  backlog.add(job("urgent", "a", { priority: -1 }));
  backlog.add(job("most urgent", "a", { priority: -5 }));
  assert.deepEqual([backlog.next()!.name, backlog.next()!.name, backlog.next()], ["most urgent", "urgent", null]);
});

Deno.test("backlog: models do not wait for each other; who leaves is forgotten", () => {
  const backlog = new Backlog<Waiting>((model) => model === "m" ? 1 : 2);
  const jobs = ["x", "y", "z"].map((name) => job(name, "a"));
  for (const each of jobs) backlog.add(each);
  backlog.add(job("other", "a", { model: "o" }));
  assert.deepEqual([backlog.next()!.name, backlog.next()!.name, backlog.next()], ["x", "other", null]);
  backlog.leave(jobs[1]!);
  backlog.leave(jobs[1]!);
  assert.equal(backlog.has(jobs[1]!), false);
  assert.equal(backlog.has(jobs[2]!), true);
  backlog.leave(jobs[0]!);
  assert.equal(backlog.next()!.name, "z");
});

Deno.test("backlog: what a job is taken to cost", () => {
  const sampling = Sampling.parse({ temperature: 0, top_p: 1, top_k: 0, seed: 1, max_tokens: null, stop: [], n: 2 });
  const tiles = ["a".repeat(64), "b".repeat(64)];
  const image = { width: 1, height: 1, cols: 1, rows: 1, tile_size: 1, tiles };
  const messages = [{ role: "user" as const, parts: [{ type: "text" as const, text: "12345678" }] }];
  const envelope = {
    v: 1 as const,
    id: "j",
    model: "m",
    edge_id: "e",
    created_ms: 0,
    messages,
    images: [image],
    sampling,
  };
  const turn = turnOfJob({ ...envelope, tenant: "t", priority: 3, cache_salt: "" }, 10);
  assert.deepEqual(turn, { model: "m", priority: 3, tenant: "t", cost: 2 + 20 + 2 * 256 });
});

/** Workers that are killed, stopped, cut off or poisoned under load: every stream goes on, whole, as on a quiet day. */
import assert from "node:assert/strict";
import { CRASH_MARK } from "../support/fake_worker_main.ts";
import { questions, readAnswer } from "../support/fleet_client.ts";
import { askAll, assertSame, busiest, Fleet, pause, until } from "../support/fleet.ts";
import { startProxy } from "./proxy.ts";

const NUM_STREAMS = 32;

Deno.test("chaos: a worker is killed amid 32 streams, another goes on", () =>
  Fleet.run(async (fleet) => {
    const workers = await Promise.all([fleet.worker({ latencyMs: 15 }), fleet.worker({ latencyMs: 15 })]);
    const edge = await fleet.edge();
    // Every fourth asks for two answers.
    const asked = questions(NUM_STREAMS, 80).map((question, i) => i % 4 === 3 ? { ...question, n: 2 } : question);
    const quiet = await Promise.all(askAll(edge.url, asked));
    let numTalking = 0;
    const answers = asked.map((question) =>
      readAnswer(edge.url, question, (text) => text.length === 5 && numTalking++)
    );
    await until(() => numTalking >= NUM_STREAMS / 2, "the streams to be under way");
    const victim = await busiest(workers);
    victim.signal("SIGKILL");
    assertSame("worker killed", await Promise.all(answers), quiet);
    assert.ok(edge.lines.some((line) => line["event"] === "job_published_again"), "the victim had no job");
  }));

Deno.test("chaos: a worker that is asked to stop gives back the jobs of its own queue as well, another goes on", () =>
  Fleet.run(async (fleet) => {
    const workers = await Promise.all([fleet.worker({ latencyMs: 15 }), fleet.worker({ latencyMs: 15 })]);
    const edge = await fleet.edge();
    // Few enough that the workers have room: each job goes to the queue of the worker it is routed to.
    const asked = questions(8, 200);
    const quiet = await Promise.all(askAll(edge.url, asked));
    let numTalking = 0;
    const answers = asked.map((question) =>
      readAnswer(edge.url, question, (text) => text.length === 5 && numTalking++)
    );
    await until(() => numTalking === asked.length, "the streams to be under way");
    const leaving = await busiest(workers);
    leaving.signal("SIGTERM");
    assertSame("worker asked to stop", await Promise.all(answers), quiet);
    assert.ok(edge.lines.some((line) => line["event"] === "job_published_again"), "the worker had no job");
  }));

Deno.test("chaos: the only worker is killed and started again", () =>
  Fleet.run(async (fleet) => {
    const only = await fleet.worker({ latencyMs: 15 });
    const edge = await fleet.edge();
    const asked = questions(16, 60);
    const quiet = await Promise.all(askAll(edge.url, asked));
    let numTalking = 0;
    const answers = asked.map((question) =>
      readAnswer(edge.url, question, (text) => text.length === 5 && numTalking++)
    );
    await until(() => numTalking >= 8, "the streams to be under way");
    only.signal("SIGKILL");
    await fleet.worker({ latencyMs: 1 });
    assertSame("only worker restarted", await Promise.all(answers), quiet);
  }));

Deno.test("chaos: a worker that was frozen comes back, and nothing it says counts", () =>
  Fleet.run(async (fleet) => {
    const frozen = await fleet.worker({ latencyMs: 15 });
    const edge = await fleet.edge();
    const asked = questions(16, 80);
    const quiet = await Promise.all(askAll(edge.url, asked));
    let numTalking = 0;
    const answers = asked.map((question) =>
      readAnswer(edge.url, question, (text) => text.length === 5 && numTalking++)
    );
    await until(() => numTalking === 16, "the streams to be under way");
    frozen.signal("SIGSTOP");
    await fleet.worker({ latencyMs: 60 });
    // The other has them all, and is not done with any, when the first comes to.
    const claims = () => edge.lines.filter((line) => line["event"] === "claim" && Number(line["attempt"]) > 1);
    await until(() => claims().length >= 16, "the other to take over");
    frozen.signal("SIGCONT");
    assertSame("worker frozen and back", await Promise.all(answers), quiet);
    await until(() => frozen.last("worker_state")?.["is_idle"] === true, "the zombie to let go");
    assert.ok(frozen.lines.some((line) => line["event"] === "claim_refused"), "the zombie was never refused");
  }));

Deno.test("chaos: a worker is cut off from the bus for ten seconds", () =>
  Fleet.run(async (fleet) => {
    const proxy = startProxy(fleet.nats.url);
    const cut = await fleet.worker({ latencyMs: 15 }, proxy.url);
    const edge = await fleet.edge();
    const asked = questions(16, 80);
    const quiet = await Promise.all(askAll(edge.url, asked));
    let numTalking = 0;
    const answers = asked.map((question) =>
      readAnswer(edge.url, question, (text) => text.length === 5 && numTalking++)
    );
    await until(() => numTalking === 16, "the streams to be under way");
    proxy.stall();
    const healed = pause(10_000).then(() => proxy.heal());
    await fleet.worker({ latencyMs: 15 });
    assertSame("worker cut off, another there", await Promise.all(answers), quiet);
    await healed;
    await until(() => cut.last("worker_state")?.["is_idle"] === true, "the worker to let go");
    // It serves again.
    const again = await Promise.all(askAll(edge.url, asked));
    assertSame("after the cut", again, quiet);
    proxy.close();
  }));

Deno.test("chaos: a request that kills its workers is parked, the others do not notice", () =>
  Fleet.run(async (fleet) => {
    const settings = { latencyMs: 15 };
    await Promise.all([fleet.worker(settings), fleet.worker(settings)]);
    const edge = await fleet.edge();
    const asked = questions(12, 60);
    const quiet = await Promise.all(askAll(edge.url, asked));
    const poison = readAnswer(edge.url, { text: `x${CRASH_MARK}`, seed: 0, temperature: 0, maxTokens: 5 });
    const answers = askAll(edge.url, asked);
    // Whoever watches over the fleet starts another for each that ended.
    let isOver = false;
    const reviving = (async () => {
      for (let numLost = 0; numLost < 3; numLost++) {
        await until(() => isOver || numGone(edge.lines) > numLost, "the next worker to end", 60_000);
        if (!isOver && numLost < 2) await fleet.worker(settings);
      }
    })();
    const parked = await poison;
    isOver = true;
    assert.equal(parked.status, 500);
    assert.equal(parked.error, "worker_crashed");
    assert.match(parked.message ?? "", /job-[0-9a-z]{21}/);
    await reviving;
    const served = await fleet.worker(settings);
    assertSame("beside the poison", await Promise.all(answers), quiet);
    assert.equal(served.last("worker_state")?.["num_jobs"] ?? 0, 0);
  }));

/** Workers that the edge found gone. */
function numGone(lines: readonly Record<string, unknown>[]): number {
  const reasons = lines.flatMap((line) => line["event"] === "job_published_again" ? [String(line["reason"])] : []);
  return new Set(reasons.filter((reason) => reason.endsWith(" is gone"))).size;
}

/** The server or an edge dies under load: clients of the living see whole answers, work of the dead ends. */
import assert from "node:assert/strict";
import { questions, readAnswer } from "../support/fleet_client.ts";
import { askAll, assertSame, Fleet, until } from "../support/fleet.ts";

Deno.test("chaos: nats-server is killed and started again under load", () =>
  Fleet.run(async (fleet) => {
    // Fewer places than streams: some jobs are still in the queue, in memory, when the server dies.
    await fleet.worker({ latencyMs: 15, maxSequences: 12 });
    const edge = await fleet.edge();
    const asked = questions(24, 60);
    const quiet = await Promise.all(askAll(edge.url, asked));
    let numTalking = 0;
    const answers = asked.map((question) =>
      readAnswer(edge.url, question, (text) => text.length === 5 && numTalking++)
    );
    await until(() => numTalking >= 12, "the first streams to be under way");
    await fleet.restartNats();
    assertSame("nats-server restarted", await Promise.all(answers), quiet);
    const reasons = edge.lines.filter((line) => line["event"] === "job_published_again").map((line) => line["reason"]);
    assert.ok(reasons.includes("the stream was lost"), `published again: ${reasons}`);
  }));

Deno.test("chaos: an edge is killed, its work is cancelled, that of others goes on", () =>
  Fleet.run(async (fleet) => {
    const worker = await fleet.worker({ latencyMs: 15 });
    const [doomed, edge] = await Promise.all([fleet.edge(), fleet.edge()]);
    const asked = questions(8, 60);
    const quiet = await Promise.all(askAll(edge.url, asked));
    const long = questions(8, 1_500);
    let numTalking = 0;
    const lost = long.map((question) =>
      readAnswer(doomed.url, question, (text) => text.length === 5 && numTalking++).catch(() => "cut" as const)
    );
    await until(() => numTalking === 8, "the streams to be under way");
    const answers = askAll(edge.url, asked);
    doomed.signal("SIGKILL");
    assertSame("another edge killed", await Promise.all(answers), quiet);
    await Promise.all(lost);
    await until(() => worker.last("worker_state")?.["is_idle"] === true, "the lost edge's work to be cancelled");
    assert.ok(worker.lines.every((line) => line["event"] !== "job_done" || Number(line["completion_tokens"]) < 100));
  }));

/** The server or an edge dies under load: clients of the living see whole answers, work of the dead ends. */
import { silentLogger } from "@tessera/shared";
import assert from "node:assert/strict";
import { startEdge } from "../../edge/mod.ts";
import { FakeTilePool } from "../edge/fake_tile_pool.ts";
import { testConfig } from "../edge/harness.ts";
import { bodyOf, questions, readAnswer } from "../support/fleet_client.ts";
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

interface Numbered {
  readonly index: number;
  readonly data: string;
}

/** Events of a resumable stream, until it ends or `enough` says so. */
async function readNumbered(response: Response, enough: (text: string) => boolean): Promise<Numbered[]> {
  assert.equal(response.status, 200);
  const events: Numbered[] = [];
  let rest = "";
  try {
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + piece).split("\n\n");
      rest = parts.pop()!;
      for (const part of parts) {
        const [, index, data] = part.match(/^id: .*:(\d+)\ndata: (.*)$/) ?? [];
        if (data !== undefined) events.push({ index: Number(index), data });
      }
      if (enough(textOf(events))) break;
    }
  } catch {
    // Its edge was killed.
  }
  return events;
}

function textOf(events: readonly Numbered[]): string {
  return events.map(({ data }) => JSON.parse(data).choices?.[0]?.delta.content ?? "").join("");
}

Deno.test("chaos: an edge is killed, its resumable answer is told on another as far as it came, and that it was lost", () =>
  Fleet.run(async (fleet) => {
    const worker = await fleet.worker({ latencyMs: 10 });
    const doomed = await fleet.edge();
    const waits = { keepAliveMs: 300 };
    const tilePool = new FakeTilePool();
    const other = await startEdge({ config: testConfig(fleet.nats.url, { waits }), log: silentLogger, tilePool });
    try {
      await until(() => other.deps.directory.isServed(), "the other edge");
      const question = questions(1, 1_500)[0]!;
      const response = await fetch(`${doomed.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", "tessera-resumable": "true" },
        body: JSON.stringify(bodyOf(question)),
      });
      const { id } = await (async () => {
        const [body, copy] = response.body!.tee();
        const events = await readNumbered(new Response(body), (text) => text.length >= 5);
        await copy.cancel();
        return JSON.parse(events[0]!.data) as { id: string };
      })();
      // Taken up before the edge dies, so that what was missed is told while it lives.
      const taken = await fetch(`${other.url}/v1/chat/completions/${id}/stream?after=1`);
      let numChars = 0;
      const told = readNumbered(taken, (text) => {
        numChars = text.length;
        return false;
      });
      await until(() => numChars >= 20, "the stream to be taken up");
      doomed.signal("SIGKILL");
      const events = await told;
      assert.deepEqual(events.map(({ index }) => index), events.map((_, i) => i + 2));
      assert.equal(JSON.parse(events.at(-1)!.data).error.code, "worker_lost");
      assert.ok(textOf(events).length >= 20);
      // And after its end, from wherever a client stopped.
      const again = await fetch(`${other.url}/v1/chat/completions/${id}/stream?after=${events.length - 2}`);
      const rest = await readNumbered(again, () => false);
      assert.deepEqual(rest, events.slice(-3));
      await until(() => worker.last("worker_state")?.["is_idle"] === true, "the lost edge's work to be cancelled");
    } finally {
      await other.close();
    }
  }));

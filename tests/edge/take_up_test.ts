/** Streams that were cut are taken up again, on any edge; a request with an Idempotency-Key runs once. */
import { silentLogger } from "@tessera/shared";
import assert from "node:assert/strict";
import { startEdge } from "../../edge/mod.ts";
import { FakeTilePool } from "./fake_tile_pool.ts";
import { errorOf, testConfig, until, withEdge } from "./harness.ts";

const JSON_HEADERS = { "content-type": "application/json" };
const RESUMABLE = { ...JSON_HEADERS, "tessera-resumable": "true", authorization: "Bearer mine" };

interface Event {
  readonly id: string;
  readonly data: string;
}

/** Reads events until `enough` says so, then leaves. */
async function events(response: Response, enough: (all: Event[]) => boolean = () => false): Promise<Event[]> {
  assert.equal(response.status, 200);
  const all: Event[] = [];
  let rest = "";
  for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n\n");
    rest = parts.pop()!;
    for (const part of parts) {
      const match = part.match(/^id: (.*)\ndata: (.*)$/);
      if (match !== null) all.push({ id: match[1]!, data: match[2]! });
    }
    if (enough(all)) break;
  }
  return all;
}

function textOf(all: readonly Event[]): string {
  return all.flatMap(({ data }) => data === "[DONE]" ? [] : [JSON.parse(data).choices[0]?.delta.content ?? ""]).join(
    "",
  );
}

Deno.test("take up: a stream that was cut goes on, on this edge and on another, for the same key alone", async () => {
  await withEdge({}, async ({ ask, worker, edge, natsUrl }) => {
    const other = await startEdge({ config: testConfig(natsUrl), log: silentLogger, tilePool: new FakeTilePool() });
    await until(() => other.deps.bus.isConnected);
    const asked = ask({ stream: true }, { headers: RESUMABLE });
    const job = await worker.pull();
    await job.take();
    job.tokens(0, [1], "a");
    const first = await events(await asked, (all) => textOf(all) === "a");
    job.tokens(1, [2], "b");
    const last = first.at(-1)!;
    const [id, number] = last.id.split(":") as [string, string];

    // While it still runs: by POST with Last-Event-ID, and by GET on another edge.
    const posted = ask({ stream: true }, { headers: { ...RESUMABLE, "last-event-id": last.id } });
    const headers = { authorization: "Bearer mine" };
    const got = fetch(`${other.url}/v1/chat/completions/${id}/stream?after=${number}`, { headers });
    const rests = Promise.all([events(await posted), events(await got)]);
    job.tokens(2, [3], "c");
    job.done(3);
    await job.ack();
    for (const rest of await rests) {
      assert.equal(textOf([...first, ...rest]), "abc");
      assert.deepEqual([...first, ...rest].map((event) => Number(event.id.split(":")[1])), [0, 1, 2, 3, 4, 5]);
      assert.equal(rest.at(-1)!.data, "[DONE]");
    }
    // After its end, from the beginning.
    await until(() => edge.deps.answers.numRunning === 0);
    for (const { url } of [edge, other]) {
      const whole = await events(await fetch(`${url}/v1/chat/completions/${id}/stream`, { headers }));
      assert.equal(textOf(whole), "abc");
      const stranger = { authorization: "Bearer other" };
      await errorOf(await fetch(`${url}/v1/chat/completions/${id}/stream`, { headers: stranger }), 404);
      await errorOf(await fetch(`${url}/v1/chat/completions/${id}/stream`), 404);
      await errorOf(await fetch(`${url}/v1/chat/completions/chatcmpl-none/stream`, { headers }), 404);
      await errorOf(await fetch(`${url}/v1/chat/completions/${id}/stream?after=x`, { headers }), 400);
    }
    await other.close();
  });
});

Deno.test("take up: a plain stream has no numbers, and its client's leaving ends it", async () => {
  await withEdge({}, async ({ ask, worker }) => {
    const stop = new AbortController();
    const asked = ask({ stream: true }, { signal: stop.signal });
    const job = await worker.pull();
    await job.take();
    job.tokens(0, [1], "a");
    const reader = (await asked).body!.getReader();
    assert.doesNotMatch(new TextDecoder().decode((await reader.read()).value), /^id:/m);
    stop.abort();
    await job.cancelled;
    await job.ack();
    await reader.cancel().catch(() => {});
  });
});

Deno.test("idempotency: the same key runs once, another body is refused, a failure may be tried again", async () => {
  await withEdge({}, async ({ ask, worker, natsUrl }) => {
    const other = await startEdge({ config: testConfig(natsUrl), log: silentLogger, tilePool: new FakeTilePool() });
    await until(() => other.deps.directory.isServed());
    const keyed = (key: string, authorization = "Bearer mine") => ({
      headers: { ...JSON_HEADERS, authorization, "idempotency-key": key },
    });
    const asked = ask({}, keyed("one"));
    const job = await worker.pull();
    await job.take();
    assert.equal((await errorOf(await ask({}, keyed("one")), 409)).code, "request_in_progress");
    job.done(0, "once");
    await job.ack();
    const answer = await (await asked).text();
    const again = await ask({}, keyed("one"));
    assert.equal(again.headers.get("idempotency-replayed"), "true");
    assert.equal(await again.text(), answer);
    const body = JSON.stringify({ model: "fake/vl-1b", messages: [{ role: "user", content: "Hello" }] });
    const elsewhere = await fetch(`${other.url}/v1/chat/completions`, { method: "POST", ...keyed("one"), body });
    assert.equal(await elsewhere.text(), answer);
    assert.equal((await errorOf(await ask({ seed: 1 }, keyed("one")), 422)).code, "idempotency_mismatch");
    assert.equal(await worker.numQueued(), 0);

    // Someone else's key of the same name is another one; a failure is not kept.
    const failed = ask({}, keyed("one", "Bearer other"));
    const second = await worker.pull();
    await second.take();
    second.emit({ type: "error", code: "internal_error", message: "x", param: null });
    await second.ack();
    await errorOf(await failed, 500);
    const retried = ask({}, keyed("one", "Bearer other"));
    const third = await worker.pull();
    await third.take();
    third.done(0, "well");
    await third.ack();
    assert.equal((await (await retried).json()).choices[0].message.content, "well");

    // A bad request stays one; a stream is played again.
    await errorOf(await ask({ model: "" }, keyed("bad")), 400);
    await errorOf(await ask({ model: "" }, keyed("bad")), 400);
    const streaming = ask({ stream: true }, keyed("stream"));
    const fourth = await worker.pull();
    await fourth.take();
    fourth.tokens(0, [1], "a");
    fourth.done(1);
    await fourth.ack();
    assert.equal(textOf(await events(await streaming)), "a");
    assert.equal(textOf(await events(await ask({ stream: true }, keyed("stream")))), "a");
    await errorOf(await ask({}, keyed("x".repeat(256))), 400);
    await other.close();
  });
});

/** API keys: who gets in, for what, how often, and what is counted; with a real bucket and nats-server's own counters. */
import { Kvm } from "@nats-io/kv";
import { type ApiKey, JOBS_BUCKET, newApiKeySecret, TesseraError } from "@tessera/shared";
import assert from "node:assert/strict";
import { apiKey, NO_LIMITS, putApiKey } from "../support/api_keys.ts";
import { fakePicture } from "./fake_tile_pool.ts";
import { errorOf, type Harness, until, withEdge } from "./harness.ts";

const CLOSED = { config: { auth: "keys" as const } };

/** Puts a key into the bucket and waits until the edge knows it; with the request headers that send it. */
async function addKey({ natsUrl, edge }: Harness, fields: Partial<ApiKey> = {}) {
  const secret = newApiKeySecret();
  const key = apiKey(fields);
  const put = async (value: ApiKey) => {
    await putApiKey(natsUrl, secret, value);
    await until(() => JSON.stringify(edge.deps.keys.byId(key.id)) === JSON.stringify(value));
  };
  await put(key);
  const headers = { authorization: `Bearer ${secret}`, "content-type": "application/json" };
  return { key, secret, headers, put };
}

Deno.test("keys: without one nobody gets in; health, readiness and the document are open", async () => {
  await withEdge(CLOSED, async (harness) => {
    harness.worker.serve(["Hello"]);
    const { edge, ask, lines } = harness;
    await edge.deps.keys.listed;
    const refused = await ask();
    assert.equal(refused.headers.get("www-authenticate"), 'Bearer realm="tessera"');
    assert.equal((await errorOf(refused, 401)).code, "invalid_api_key");
    for (const wrong of ["tessera_", newApiKeySecret(), "x".repeat(5_000)]) {
      const headers = { authorization: `Bearer ${wrong}`, "content-type": "application/json" };
      assert.equal((await errorOf(await ask({}, { headers }), 401)).type, "authentication_error");
    }
    for (const path of ["/v1/models", "/v1/files", "/v1/usage", "/v1/nothing"]) {
      await errorOf(await fetch(`${edge.url}${path}`), 401);
    }
    for (const path of ["/healthz", "/readyz", "/openapi.json", "/docs", "/"]) {
      const response = await fetch(`${edge.url}${path}`);
      await response.body?.cancel();
      assert.ok(response.ok, path);
    }
    const { headers, secret, key } = await addKey(harness);
    const answered = await ask({}, { headers });
    assert.equal(answered.status, 200);
    await answered.body?.cancel();
    assert.ok(!JSON.stringify(lines).includes(secret), "no secret in the log");
    assert.ok(lines.some((line) => line["key_id"] === key.id), "the key's public name is in the log");
  });
});

Deno.test("keys: revoked, expired and deleted ones end at once; scopes hold", async () => {
  await withEdge(CLOSED, async (harness) => {
    harness.worker.serve(["Hello"]);
    const { edge, ask } = harness;
    const { headers, put, key } = await addKey(harness);
    await put({ ...key, revoked_ms: Date.now() });
    assert.match((await errorOf(await ask({}, { headers }), 401)).message, /was revoked/);
    await put({ ...key, expires_ms: Date.now() - 1 });
    assert.match((await errorOf(await ask({}, { headers }), 401)).message, /has expired/);
    await put({ ...key, scopes: ["files"] });
    assert.equal((await errorOf(await ask({}, { headers }), 403)).code, "insufficient_scope");
    for (const path of ["/v1/files", "/v1/models", "/v1/usage"]) {
      const response = await fetch(`${edge.url}${path}`, { headers });
      await response.body?.cancel();
      assert.equal(response.status, 200, path);
    }
    await put({ ...key, scopes: ["admin"] });
    const response = await ask({}, { headers });
    await response.body?.cancel();
    assert.equal(response.status, 200);
  });
});

Deno.test("keys: keys of one tenant see its files, others do not", async () => {
  await withEdge(CLOSED, async (harness) => {
    const { edge } = harness;
    const [one, two, stranger] = [
      await addKey(harness, { tenant: "team" }),
      await addKey(harness, { tenant: "team" }),
      await addKey(harness),
    ];
    const form = new FormData();
    form.set("purpose", "user_data");
    form.set("file", new File(["hello"], "a.txt"));
    const { authorization } = one.headers;
    const made = await fetch(`${edge.url}/v1/files`, { method: "POST", headers: { authorization }, body: form });
    const { id } = await made.json() as { id: string };
    for (const [{ headers }, status] of [[two, 200], [stranger, 404]] as const) {
      const response = await fetch(`${edge.url}/v1/files/${id}`, { headers });
      await response.body?.cancel();
      assert.equal(response.status, status);
    }
  });
});

Deno.test("keys: requests a minute, told in headers and refused with the time of the next", async () => {
  await withEdge(CLOSED, async (harness) => {
    harness.worker.serve(["Hello"]);
    const limits = { ...NO_LIMITS, requests_per_minute: 3 };
    const { headers } = await addKey(harness, { limits });
    const asks = [];
    // In one minute: when the first falls in the last moments of one, the next has room for all.
    for (let count = 0; count < 8; count++) asks.push(await harness.ask({}, { headers }));
    const statuses = asks.map(({ status }) => status);
    await Promise.all(asks.map((response) => response.body?.cancel()));
    const first = asks[0]!;
    assert.equal(first.headers.get("x-ratelimit-limit-requests"), "3");
    assert.equal(first.headers.get("x-ratelimit-remaining-requests"), "2");
    assert.match(first.headers.get("x-ratelimit-reset-requests")!, /^\d+s$/);
    assert.match(first.headers.get("ratelimit-policy")!, /^"requests";q=3;w=60$/);
    const refused = asks.find(({ status }) => status === 429);
    assert.ok(refused !== undefined, statuses.join());
    const wait = Number(refused.headers.get("retry-after"));
    assert.ok(wait >= 1 && wait <= 60, `${wait}`);
    assert.equal(refused.headers.get("x-ratelimit-remaining-requests"), "0");
    assert.ok(statuses.filter((status) => status === 200).length <= 6, statuses.join());
  });
});

Deno.test("keys: each request of a batch counts", async () => {
  await withEdge(CLOSED, async (harness) => {
    harness.worker.serve(["Hello"]);
    const { headers } = await addKey(harness, { limits: { ...NO_LIMITS, requests_per_minute: 4 } });
    const batch = async (size: number) => {
      const messages = [{ role: "user", content: "Hello" }];
      const requests = Array.from({ length: size }, () => ({}));
      const body = JSON.stringify({ model: "fake/vl-1b", messages, requests });
      return await fetch(`${harness.edge.url}/v1/batch/chat/completions`, { method: "POST", headers, body });
    };
    const { data } = await (await batch(2)).json() as { data: unknown[] };
    assert.equal(data.length, 2);
    assert.match((await errorOf(await batch(6), 429)).message, /4 requests a minute/);
  });
});

Deno.test("keys: tokens a minute and a month, and the usage of each day", async () => {
  await withEdge(CLOSED, async (harness) => {
    harness.worker.serve(["Hello"]);
    const { edge, ask } = harness;
    const usageOf = async (headers: HeadersInit, query = "") =>
      await (await fetch(`${edge.url}/v1/usage${query}`, { headers })).json();
    const { headers, key } = await addKey(harness, { limits: { ...NO_LIMITS, tokens_per_month: 1_000_000 } });
    const answer = await (await ask({}, { headers })).json() as { usage: Record<string, number> };
    const streamed = await ask({ stream: true }, { headers });
    await streamed.text();
    await until(async () => (await usageOf(headers)).total.requests === 2);
    const usage = await usageOf(headers);
    assert.equal(usage.total.input_tokens, 2 * answer.usage["prompt_tokens"]!);
    assert.equal(usage.total.output_tokens, 2 * answer.usage["completion_tokens"]!);
    assert.deepEqual(usage.month, { tokens: 2 * answer.usage["total_tokens"]!, limit: 1_000_000 });
    assert.ok(
      usage.data.length >= 1 && usage.data.every((day: { date: string }) => /^\d{4}-\d\d-\d\d$/.test(day.date)),
    );
    assert.deepEqual((await usageOf(headers, "?end_date=2020-01-01")).data, []);

    const { headers: other } = await addKey(harness, { limits: { ...NO_LIMITS, tokens_per_month: 1 } });
    const ofOther = `${edge.url}/v1/usage?key_id=${key.id}`;
    assert.equal((await errorOf(await fetch(ofOther, { headers: other }), 403)).param, "key_id");
    const { headers: admin } = await addKey(harness, { scopes: ["admin"] });
    assert.equal((await usageOf(admin, `?key_id=${key.id}`)).month.limit, 1_000_000);
    const bad = await fetch(`${edge.url}/v1/usage?start_date=yesterday`, { headers });
    assert.equal((await errorOf(bad, 400)).param, "start_date");

    await (await ask({}, { headers: other })).body?.cancel();
    await until(async () => (await usageOf(other)).month.tokens > 0);
    assert.equal((await errorOf(await ask({}, { headers: other }), 429)).code, "insufficient_quota");

    const { headers: slow } = await addKey(harness, { limits: { ...NO_LIMITS, tokens_per_minute: 1 } });
    await (await ask({}, { headers: slow })).body?.cancel();
    await until(async () => {
      const response = await ask({}, { headers: slow });
      await response.body?.cancel();
      return response.status === 429 && Number(response.headers.get("retry-after")) >= 1;
    });
  });
});

Deno.test("keys: an answer that is cut counts with what was made of it, once; one that failed, or never began, does not", () =>
  withEdge(CLOSED, async (harness) => {
    const { edge, ask, worker } = harness;
    const { headers } = await addKey(harness);
    const total = async () => {
      const { requests, input_tokens, output_tokens } =
        (await (await fetch(`${edge.url}/v1/usage`, { headers })).json()).total;
      return [requests, input_tokens, output_tokens];
    };
    const prompt = { prompt_tokens: 20, image_tokens: 0, cached_tokens: 4 };
    /** Three tokens, the last of them twice, as after a reconnection. */
    const speak = async () => {
      const job = await worker.pull();
      await job.take();
      job.emit({ type: "progress", prompt });
      job.tokens(0, [1, 2], "Hello");
      job.tokens(2, [3], " there");
      job.tokens(2, [3], " there");
      return job;
    };
    // The client leaves while it is told.
    const client = new AbortController();
    /** A stream, read until all that was spoken is here. */
    const stream = async (signal?: AbortSignal) => {
      const asked = ask({ stream: true }, { headers, ...(signal === undefined ? {} : { signal }) });
      const job = await speak();
      const reader = (await asked).body!.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = ""; !text.includes("there");) {
        const { value, done } = await reader.read();
        assert.ok(!done, text);
        text += value;
      }
      return { job, reader };
    };
    const { job: spoken } = await stream(client.signal);
    client.abort();
    await spoken.cancelled;
    // What comes behind the cut is nobody's.
    spoken.tokens(3, [4, 5, 6], " and more");
    spoken.done(6);
    await until(async () => (await total())[0] === 1);
    assert.deepEqual(await total(), [1, 20, 3]);

    // Its time is over.
    const { reader } = await stream();
    edge.deps.dispatcher.giveUpAll(new TesseraError("deadline_exceeded"));
    assert.match((await reader.read()).value!, /deadline_exceeded/);
    await until(async () => (await total())[0] === 2);
    assert.deepEqual(await total(), [2, 40, 6]);

    const failed = ask({}, { headers });
    (await speak()).emit({ type: "error", code: "internal_error", message: "x", param: null });
    await errorOf(await failed, 500);
    const unheard = new AbortController();
    const never = ask({}, { headers, signal: unheard.signal }).catch(() => null);
    await worker.pull();
    unheard.abort();
    await never;
    await until(() => edge.deps.dispatcher.numRunning === 0);

    const whole = ask({}, { headers });
    (await speak()).done(3, "", "length");
    assert.equal((await (await whole).json()).choices[0].finish_reason, "length");
    await until(async () => (await total())[0] >= 3);
    assert.deepEqual(await total(), [3, 50, 9]);
  }));

Deno.test("keys: a key's own concurrency", async () => {
  await withEdge(CLOSED, async (harness) => {
    const { headers } = await addKey(harness, { limits: { ...NO_LIMITS, concurrency: 1 } });
    const client = new AbortController();
    const held = harness.ask({}, { headers, signal: client.signal }).catch(() => null);
    await until(() => harness.edge.deps.admission.numInflight === 1);
    assert.match((await errorOf(await harness.ask({}, { headers }), 429)).message, /At most 1 requests of the API key/);
    client.abort();
    await held;
  });
});

Deno.test("keys: where they are not checked nothing is counted, and usage says so", async () => {
  await withEdge({}, async ({ edge, ask, worker }) => {
    worker.serve(["Hello"]);
    await (await ask({}, { headers: { authorization: "Bearer anything", "content-type": "application/json" } })).body
      ?.cancel();
    await errorOf(await fetch(`${edge.url}/v1/usage`), 404);
  });
});

Deno.test("keys: a caption counts for its key when it has ended, once, whoever looks", () =>
  withEdge(CLOSED, async (harness) => {
    const { edge } = harness;
    await edge.deps.keys.listed;
    const { headers } = await addKey(harness);
    const body = JSON.stringify({ image: fakePicture(1, 1), prompt: "What?" });
    const response = await fetch(`${edge.url}/v1/captions`, { method: "POST", headers, body });
    const { id } = await response.json();
    // As the worker that makes it writes its end.
    const bucket = await new Kvm(edge.deps.bus.connection).open(JOBS_BUCKET);
    const queued = JSON.parse((await bucket.get(id))!.string());
    const usage = { prompt_tokens: 30, completion_tokens: 12, image_tokens: 4, cached_tokens: 0 };
    await bucket.put(id, JSON.stringify({ ...queued, status: "succeeded", completed_ms: Date.now(), usage }));
    const look = async () => await (await fetch(`${edge.url}/v1/captions/${id}`, { headers })).json();
    assert.deepEqual(
      (await Promise.all([look(), look(), look()])).map(({ status }) => status),
      Array(3).fill("succeeded"),
    );
    await edge.deps.captions.sweep();
    const total = async () => (await (await fetch(`${edge.url}/v1/usage`, { headers })).json()).total;
    await until(async () => (await total()).output_tokens > 0);
    const { requests, input_tokens, output_tokens } = await total();
    assert.deepEqual([requests, input_tokens, output_tokens], [1, 30, 12]);
  }));

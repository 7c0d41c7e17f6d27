/** What browsers are told: other sites call only where they may, and no answer can be framed, sniffed or run. */
import assert from "node:assert/strict";
import { readEdgeConfig } from "../../edge/mod.ts";
import { errorOf, withEdge } from "./harness.ts";

const HTML = { accept: "text/html" };

Deno.test("browsers: no other site may call unless it is named; those that are may, with a key and its limits read", async () => {
  const ask = (url: string, origin: string, init: RequestInit = {}) =>
    fetch(`${url}/v1/models`, { ...init, headers: { origin, ...init.headers } });
  const preflight = {
    method: "OPTIONS",
    headers: {
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type",
    },
  };
  await withEdge({ worker: false }, async ({ edge: { url } }) => {
    const answer = await ask(url, "https://app.example");
    await answer.body?.cancel();
    assert.equal(answer.headers.get("access-control-allow-origin"), null);
    const refused = await ask(url, "https://app.example", preflight);
    assert.equal(refused.headers.get("access-control-allow-origin"), null);
    await errorOf(refused, 405);
  });
  const corsOrigins = ["https://app.example", "http://localhost:3000"];
  await withEdge({ worker: false, config: { corsOrigins, auth: "keys" } }, async ({ edge }) => {
    const { url, deps } = edge;
    await deps.keys.listed;
    for (const origin of corsOrigins) {
      const allowed = await ask(url, origin, preflight);
      assert.equal(allowed.status, 204, "a preflight has no key");
      assert.equal(allowed.headers.get("access-control-allow-origin"), origin);
      assert.match(allowed.headers.get("access-control-allow-headers")!, /authorization/);
      assert.match(allowed.headers.get("access-control-allow-methods")!, /POST/);
      // Refusals are read too.
      const answer = await ask(url, origin);
      assert.equal(answer.headers.get("access-control-allow-origin"), origin);
      assert.match(answer.headers.get("access-control-expose-headers")!, /retry-after/);
      assert.equal(answer.headers.get("access-control-allow-credentials"), null);
      await errorOf(answer, 401);
    }
    for (const origin of ["https://evil.example", "https://app.example.evil.example", "null"]) {
      const answer = await ask(url, origin, preflight);
      assert.equal(answer.headers.get("access-control-allow-origin"), null, origin);
      await answer.body?.cancel();
    }
    const page = await fetch(`${url}/metrics`, { headers: { origin: corsOrigins[0]! } });
    await page.body?.cancel();
    assert.equal(page.headers.get("access-control-allow-origin"), null, "the API alone");
  });
  const config = (origins: string) =>
    readEdgeConfig((name) => ({ TESSERA_NATS_URL: "nats://127.0.0.1:4222", TESSERA_CORS_ORIGINS: origins })[name]);
  assert.deepEqual(config(" https://a.example, * ").corsOrigins, ["https://a.example", "*"]);
  for (const wrong of ["a.example", "https://a.example/", "https://a.example/path"]) {
    assert.throws(() => config(wrong), /TESSERA_CORS_ORIGINS.*is no origin/s);
  }
});

Deno.test("browsers: every answer, of whatever kind, says that it is not to be sniffed, framed or run", () =>
  withEdge({}, async ({ edge: { url }, ask, worker }) => {
    worker.serve(["Hello"]);
    const answers = [
      await fetch(`${url}/v1/models`),
      await fetch(`${url}/nowhere`),
      await fetch(`${url}/healthz`),
      await fetch(`${url}/`, { headers: HTML }),
      await fetch(`${url}/docs`),
      await ask(),
      await ask({ stream: true }),
      await ask({ temperature: 3 }),
    ];
    for (const answer of answers) {
      await answer.text();
      const { headers, url } = answer;
      assert.equal(headers.get("x-content-type-options"), "nosniff", url);
      assert.equal(headers.get("x-frame-options"), "DENY", url);
      assert.equal(headers.get("referrer-policy"), "no-referrer", url);
      assert.match(headers.get("content-security-policy")!, /default-src 'none'/, url);
      assert.equal(headers.get("x-powered-by"), null);
    }
  }));

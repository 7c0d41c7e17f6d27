/** Events of sources become captions: once each, whoever sends them how often, and never without a signature. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import type { ApiKey } from "@tessera/shared";
import type { EdgeConfig } from "../../edge/mod.ts";
import { parseSources } from "../../edge/hooks/sources.ts";
import { HookReceiptAnswer } from "../../edge/openapi/hook_answers.ts";
import { createTilePool } from "../../edge/tile/mod.ts";
import { parseSecrets, signedHeaders } from "../../edge/webhooks/signature.ts";
import { errorOf, type Harness, until, withEdge } from "../edge/harness.ts";
import { apiKey, NO_LIMITS, putApiKey } from "../support/api_keys.ts";
import { png } from "../support/png_writer.ts";
import { minioEvent, supabaseEvent } from "./events.ts";

const ENV: Record<string, string> = {
  WORD: "a word that both sides know",
  SECRET: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  API_KEY: "key-of-the-owner",
};
const token = { type: "token", secret_env: "WORD" };
const word = { authorization: `Bearer ${ENV["WORD"]}` };

interface Picture {
  status: number;
  body: Uint8Array<ArrayBuffer> | string;
}

/** An edge with sources, and a store of pictures that a test fills and breaks. */
async function withHooks(
  body: (harness: Harness, store: { url: string; pictures: Map<string, Picture>; asked: string[] }) => Promise<void>,
  config: Partial<EdgeConfig> = {},
): Promise<void> {
  const pictures = new Map<string, Picture>();
  const asked: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { pathname } = new URL(request.url);
    asked.push(pathname);
    const found = pictures.get(pathname) ?? { status: 404, body: "none" };
    return new Response(found.body, { status: found.status });
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  pictures.set("/photos/a.png", { status: 200, body: await png(8, 8, () => 99) as Uint8Array<ArrayBuffer> });
  const store = { url: `${url}/{bucket}/{key}` };
  const map = { url: "/image", id: "/id", metadata: { title: "/title" } };
  const sources = {
    minio: {
      events: "s3",
      verify: token,
      store,
      api_key_env: "API_KEY",
      caption: { preset: "alt_text", metadata: { from: "minio" } },
    },
    supabase: { events: "supabase", verify: token, store },
    cms: {
      events: "json",
      verify: { type: "standard", secret_env: "SECRET" },
      map: { url: "/image", metadata: { title: "/title" } },
    },
    git: { events: "json", verify: { type: "hmac-sha256", secret_env: "WORD" }, map: { ...map, time: "/at" } },
    cloud: { events: "cloudevents", verify: token, map: { url: "/data/image" }, api_key_env: "API_KEY" },
    grid: {
      events: "cloudevents",
      verify: token,
      map: { url: "/data/image" },
      api_key_env: "API_KEY",
      allowed_origins: ["eventgrid.azure.net"],
    },
  };
  const hookSources = parseSources(JSON.stringify({ sources }), (name) => ENV[name]);
  const tilePool = createTilePool({ workers: 1 });
  try {
    await tilePool.ready;
    await withEdge(
      { tilePool, config: { hookSources, allowPrivateUrls: true, ...config } },
      (harness) => body(harness, { url, pictures, asked }),
    );
  } finally {
    await tilePool.close();
    await server.shutdown();
  }
}

function send({ edge }: Harness, source: string, event: unknown, headers: Record<string, string>): Promise<Response> {
  const body = typeof event === "string" ? event : JSON.stringify(event);
  return fetch(`${edge.url}/v1/hooks/${source}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
  });
}

async function receipt(response: Response, status = 200): Promise<Record<string, unknown>[]> {
  const text = await response.text();
  assert.equal(response.status, status, text);
  return HookReceiptAnswer.parse(JSON.parse(text)).data as Record<string, unknown>[];
}

const captionOf = async ({ edge }: Harness, id: unknown, key?: string) => {
  const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
  return await (await fetch(`${edge.url}/v1/captions/${id}`, { headers })).json();
};

Deno.test("hooks: an object of MinIO is one caption of its owner, however often the event comes", () =>
  withHooks(async (harness, { url, asked }) => {
    const event = minioEvent("photos", "a.png");
    const [first] = await receipt(await send(harness, "minio", event, word));
    assert.equal(first!["status"], "created");
    const id = first!["caption_id"];
    const [second] = await receipt(await send(harness, "minio", event, word));
    assert.deepEqual(second, { status: "duplicate", caption_id: id });
    // At the same time, several edges' worth of them.
    const other = minioEvent("photos", "a.png", { eventTime: new Date(Date.now() + 1_000).toISOString() });
    const many = await Promise.all(Array.from({ length: 5 }, () => send(harness, "minio", other, word)));
    const ids = (await Promise.all(many.map((one) => receipt(one)))).map(([one]) => one!["caption_id"]);
    assert.equal(new Set(ids).size, 1);
    assert.notEqual(ids[0], id);
    const caption = await captionOf(harness, id, ENV["API_KEY"]);
    assert.equal(caption.status, "queued");
    assert.deepEqual(caption.metadata, { from: "minio", bucket: "photos", key: "a.png", source: "minio" });
    assert.deepEqual([caption.input.preset, caption.input.media[0].url], ["alt_text", `${url}/photos/a.png`]);
    assert.equal((await captionOf(harness, id)).error.code, "not_found", "another key sees it");
    assert.ok(asked.length >= 2);
    const list = await fetch(`${harness.edge.url}/v1/captions`, {
      headers: { authorization: `Bearer ${ENV["API_KEY"]}` },
    });
    assert.equal((await list.json()).data.length, 2);
  }));

Deno.test("hooks: Standard Webhooks, GitHub's signature, CloudEvents and Supabase; replays, and what is not signed", () =>
  withHooks(async (harness, { url }) => {
    const image = `${url}/photos/a.png`;
    const body = JSON.stringify({ image, title: "T" });
    const sign = (id: string, atMs: number, text = body) =>
      signedHeaders(parseSecrets(ENV["SECRET"]!), id, atMs, new TextEncoder().encode(text));
    const [standard] = await receipt(await send(harness, "cms", body, sign("msg_1", Date.now())));
    assert.equal(standard!["status"], "created");
    assert.deepEqual((await captionOf(harness, standard!["caption_id"])).metadata, { title: "T", source: "cms" });
    // Sent again: signed anew, or word for word.
    const [again] = await receipt(await send(harness, "cms", body, sign("msg_1", Date.now() - 60_000)));
    assert.deepEqual(again, { status: "duplicate", caption_id: standard!["caption_id"] });
    const [next] = await receipt(await send(harness, "cms", body, sign("msg_2", Date.now())));
    assert.equal(next!["status"], "created");
    for (
      const headers of [
        {},
        sign("msg_3", Date.now() - 3_600_000),
        { ...sign("msg_3", Date.now()), "webhook-id": "msg_4" },
        sign("msg_3", Date.now(), `${body} `),
      ]
    ) assert.equal((await errorOf(await send(harness, "cms", body, headers), 401)).code, "signature_invalid");

    const git = JSON.stringify({ id: 7, image, title: "G", at: Math.floor(Date.now() / 1_000) });
    const hub = (text: string) => ({
      "x-hub-signature-256": `sha256=${createHmac("sha256", ENV["WORD"]!).update(text).digest("hex")}`,
    });
    const [pushed] = await receipt(await send(harness, "git", git, hub(git)));
    assert.equal(pushed!["status"], "created");
    assert.deepEqual(await receipt(await send(harness, "git", git, { ...hub(git), "x-github-delivery": "other" })), [
      { status: "duplicate", caption_id: pushed!["caption_id"] },
    ]);
    const old = JSON.stringify({ id: 8, image, at: Math.floor(Date.now() / 1_000) - 2 * 86_400 });
    assert.deepEqual(await receipt(await send(harness, "git", old, hub(old))), [{
      status: "ignored",
      reason: "too_old",
    }]);
    await errorOf(await send(harness, "git", `${git} `, hub(git)), 401);

    const cloud = {
      specversion: "1.0",
      id: "c1",
      source: "/s",
      type: "t",
      time: new Date().toISOString(),
      data: { image },
    };
    const structured = { ...word, "content-type": "application/cloudevents+json" };
    const [structure] = await receipt(await send(harness, "cloud", cloud, structured));
    assert.equal(structure!["status"], "created");
    const binary = { ...word, "ce-specversion": "1.0", "ce-id": "c1", "ce-source": "/s", "ce-type": "t" };
    const [same] = await receipt(await send(harness, "cloud", { image }, binary));
    assert.deepEqual(same, { status: "duplicate", caption_id: structure!["caption_id"] });
    const [stored] = await receipt(await send(harness, "supabase", supabaseEvent("photos", "a.png"), word));
    assert.equal(stored!["status"], "created");

    await errorOf(
      await send(harness, "minio", minioEvent("photos", "a.png"), { authorization: "Bearer another" }),
      401,
    );
    await errorOf(await send(harness, "nobody", {}, word), 404);
    await errorOf(await send(harness, "__proto__", {}, word), 404);
    assert.equal((await errorOf(await send(harness, "minio", "{", word), 400)).code, "invalid_json");
    await errorOf(await send(harness, "minio", " ".repeat(2 * 1024 * 1024), word), 413);
    assert.doesNotMatch(JSON.stringify(harness.lines), /both sides know|whsec_|key-of-the-owner/);
  }));

Deno.test("hooks: what may pass is asked for again, and is one caption then; what can never be one is told and done with", () =>
  withHooks(async (harness, { url, pictures }) => {
    const event = minioEvent("photos", "late.png");
    const failed = await send(harness, "minio", event, word);
    assert.ok(Number(failed.headers.get("retry-after")) > 0);
    const told = await failed.json();
    assert.deepEqual([failed.status, told.error.code, told.data[0].status], [503, "image_fetch_failed", "failed"]);
    pictures.set("/photos/late.png", pictures.get("/photos/a.png")!);
    const [made] = await receipt(await send(harness, "minio", event, word));
    assert.equal(made!["status"], "created");

    pictures.set("/photos/notes.txt", { status: 200, body: "only a text, of more than sixteen bytes" });
    const [never] = await receipt(await send(harness, "minio", minioEvent("photos", "notes.txt"), word));
    assert.equal(never!["status"], "failed");
    assert.equal((never!["error"] as { code: string }).code, "image_unsupported_format");
    const [away] = await receipt(await send(harness, "minio", minioEvent("photos", "../a.png"), word));
    assert.equal((away!["error"] as { code: string }).code, "invalid_request");

    // Several at once, each for itself.
    const records = ["a.png", "notes.txt", "a.png"].flatMap((key, i) =>
      minioEvent("photos", key, { eventTime: new Date(Date.now() + i).toISOString() })["Records"] as unknown[]
    );
    const statuses = (await receipt(await send(harness, "minio", { Records: records }, word))).map((one) =>
      one["status"]
    );
    assert.deepEqual(statuses, ["created", "failed", "created"]);
    assert.ok(url.startsWith("http://127.0.0.1"));
  }));

/** Puts the key of the sources into the bucket, as often as it changes; resolves when the edge knows. */
async function putKey({ edge, natsUrl }: Harness, fields: Partial<ApiKey> = {}): Promise<void> {
  const key = apiKey({ id: "key-hook", tenant: "store", scopes: ["captions"], created_ms: 1, ...fields });
  await putApiKey(natsUrl, ENV["API_KEY"]!, key);
  await until(() => JSON.stringify(edge.deps.keys.byId(key.id)) === JSON.stringify(key));
}

Deno.test("hooks: where keys are needed, captions are those of the source's key, and count for it", () =>
  withHooks(async (harness) => {
    const { edge } = harness;
    const event = minioEvent("photos", "a.png");
    const refused = await send(harness, "minio", event, word);
    assert.equal((await errorOf(refused, 401)).code, "invalid_api_key");
    await putKey(harness);
    const { data } = HookReceiptAnswer.parse(await (await send(harness, "minio", event, word)).json());
    const made = data[0]!;
    assert.ok(made.status === "created", JSON.stringify(data));
    const { caption } = await edge.deps.captions.get("store", made.caption_id);
    assert.equal(caption.key_id, "key-hook");
  }, { auth: "keys" }));

Deno.test("hooks: a source's key needs the scope of captions, ends its source with itself, and its limits hold", () =>
  withHooks(async (harness) => {
    const { edge, lines } = harness;
    const refusal = async (status: number) =>
      (await errorOf(await send(harness, "minio", minioEvent("photos", "a.png"), word), status)).code;
    await putKey(harness, { scopes: ["inference", "files", "batches"] });
    assert.equal(await refusal(403), "insufficient_scope");
    assert.ok(lines.some((line) => line["event"] === "hook_key_refused" && line["source"] === "minio"));
    for (const fields of [{ revoked_ms: 2 }, { expires_ms: 2 }]) {
      await putKey(harness, fields);
      assert.equal(await refusal(401), "invalid_api_key");
    }
    assert.equal((await edge.deps.captions.list("store", { limit: 10, after: null, order: "desc" })).data.length, 0);
    await putKey(harness, { scopes: ["admin"] });
    await receipt(await send(harness, "minio", minioEvent("photos", "a.png"), word));
    // Each picture counts; three are one more than a minute has, whichever minute they fall into.
    await putKey(harness, { limits: { ...NO_LIMITS, requests_per_minute: 2 } });
    const Records = [1, 2, 3].flatMap((i) =>
      minioEvent("photos", "a.png", { eventTime: new Date(Date.now() + i).toISOString() })["Records"] as unknown[]
    );
    const many = await send(harness, "minio", { Records }, word);
    assert.ok(Number(many.headers.get("retry-after")) >= 1);
    assert.equal((await errorOf(many, 429)).code, "rate_limited");
  }, { auth: "keys" }));

Deno.test("hooks: a CloudEvents sender that asks first is told whether it may send, and how often", () =>
  withHooks(async (harness) => {
    const ask = (headers: Record<string, string>, source = "cloud") =>
      fetch(`${harness.edge.url}/v1/hooks/${source}`, { method: "OPTIONS", headers });
    const origin = { "webhook-request-origin": "eventemitter.example.com" };
    await harness.edge.deps.keys.listed;
    assert.equal((await errorOf(await ask(origin), 401)).code, "invalid_api_key");
    await putKey(harness, { limits: { ...NO_LIMITS, requests_per_minute: 90 } });
    const granted = async (headers: Record<string, string>, source?: string) => {
      const response = await ask(headers, source);
      assert.equal(response.status, 200, await response.text());
      assert.match(response.headers.get("allow")!, /POST/);
      return [response.headers.get("webhook-allowed-origin"), response.headers.get("webhook-allowed-rate")];
    };
    assert.deepEqual(await granted(origin), ["eventemitter.example.com", null]);
    assert.deepEqual(await granted({ ...origin, "webhook-request-rate": "120" }), ["eventemitter.example.com", "90"]);
    assert.deepEqual(await granted({ ...origin, "webhook-request-rate": "30" }), ["eventemitter.example.com", "30"]);
    assert.deepEqual(await granted({ ...origin, "webhook-request-rate": "*" }), ["eventemitter.example.com", "90"]);
    assert.equal(
      (await granted({ "webhook-request-origin": "EventGrid.azure.net" }, "grid"))[0],
      "EventGrid.azure.net",
    );
    const stranger = await ask(origin, "grid");
    assert.equal(stranger.headers.get("webhook-allowed-origin"), null);
    assert.equal((await errorOf(stranger, 403)).code, "origin_not_allowed");
    await errorOf(await ask({}), 400);
    await errorOf(await ask({ ...origin, "webhook-request-rate": "often" }), 400);
    await errorOf(await ask(origin, "minio"), 405);
    await errorOf(await ask(origin, "nobody"), 404);
  }, { auth: "keys" }));

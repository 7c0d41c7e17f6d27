/** Sources: their file, their signatures, and what their events tell of pictures. */
import { TesseraError } from "@tessera/shared";
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { type EventItem, itemsOf } from "../../edge/hooks/event_items.ts";
import { parsePointer, valueAt } from "../../edge/hooks/json_pointer.ts";
import { urlOf } from "../../edge/hooks/object_url.ts";
import { type HookSource, parseSources } from "../../edge/hooks/sources.ts";
import { verifyEvent } from "../../edge/hooks/verify.ts";
import { parseSecrets, signedHeaders } from "../../edge/webhooks/signature.ts";
import { minioEvent, supabaseEvent } from "./events.ts";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const WORD = "a word that both sides know";
const ENV: Record<string, string> = {
  WORD,
  SECRET,
  ACCESS: "access-key-of-the-store",
  HIDDEN: "secret-key-of-the-store",
};

function source(
  options: Record<string, unknown>,
  verify: Record<string, unknown> = { type: "token", secret_env: "WORD" },
): HookSource {
  const text = JSON.stringify({ sources: { it: { verify, ...options } } });
  return parseSources(text, (name) => ENV[name]).get("it")!;
}

function items(from: HookSource, body: unknown, headers: Record<string, string> = {}): EventItem[] {
  return itemsOf(from, { headers: new Headers(headers), text: typeof body === "string" ? body : JSON.stringify(body) });
}

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof TesseraError, String(error));
    assert.doesNotMatch(error.message, /whsec_|word that both/);
    return error.code;
  }
  return "none";
};

Deno.test("hooks: JSON pointers as RFC 6901 has them, own members alone", () => {
  const document = { foo: ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, deep: [{ x: null }] };
  for (
    const [pointer, value] of [
      ["", document],
      ["/foo", document.foo],
      ["/foo/0", "bar"],
      ["/", 0],
      ["/a~1b", 1],
      ["/m~0n", 8],
      ["/deep/0/x", null],
      ["/foo/2", undefined],
      ["/foo/-", undefined],
      ["/foo/00", undefined],
      ["/foo/length", undefined],
      ["/constructor", undefined],
      ["/__proto__/x", undefined],
      ["/foo/0/0", undefined],
    ] as const
  ) assert.deepEqual(valueAt(document, parsePointer(pointer)), value, pointer);
  for (const pointer of ["foo", "/a~2", "/a~"]) assert.throws(() => parsePointer(pointer), /no JSON pointer/);
});

Deno.test("hooks: the file of sources; each fault is named, no secret is shown", () => {
  const json = { events: "json", map: { url: "/url" } };
  const verify = { type: "token", secret_env: "WORD" };
  const faults: readonly (readonly [unknown, RegExp])[] = [
    ["{", /not JSON/],
    [{ sources: { "Bad Name": { ...json, verify } } }, /Bad Name/],
    [{ sources: { it: json } }, /sources\.it\.verify/],
    [{ sources: { it: { ...json, verify, more: 1 } } }, /sources\.it/],
    [{ sources: { it: { ...json, verify, map: { url: "url" } } } }, /map\.url: .*no JSON pointer/],
    [{ sources: { it: { ...json, verify: { ...verify, secret_env: "NOWHERE" } } } }, /NOWHERE is empty/],
    [{ sources: { it: { ...json, verify: { ...verify, secret_env: "SHORT" } } } }, /SHORT is shorter/],
    [
      { sources: { it: { ...json, verify: { type: "standard", secret_env: "WORD" } } } },
      /WORD: a secret is not whsec_/,
    ],
    [{ sources: { it: { events: "s3", verify, store: { url: "http://x/" } } } }, /\{key\}/],
    [
      { sources: { it: { events: "s3", verify, store: { url: "http://x/{key}", access_key_env: "ACCESS" } } } },
      /neither/,
    ],
    [{ sources: { it: { ...json, verify, caption: { preset: "none" } } } }, /caption/],
    [{ sources: { it: { ...json, verify, caption: { image: "https://a.test/" } } } }, /caption/],
  ];
  for (const [file, message] of faults) {
    const text = typeof file === "string" ? file : JSON.stringify(file);
    assert.throws(() => parseSources(text, (name) => ({ ...ENV, SHORT: "short" })[name]), (error: Error) => {
      assert.match(error.message, message);
      assert.ok(!error.message.includes(WORD));
      return true;
    });
  }
});

Deno.test("hooks: Standard Webhooks, GitHub's signature, a word: right ones are taken, nothing else is", () => {
  const body = new TextEncoder().encode('{"url":"https://a.test/x.png"}');
  const other = new TextEncoder().encode('{"url":"https://a.test/y.png"}');
  const now = Date.now();
  const json = { events: "json", map: { url: "/url" } };
  const check = ({ verifier }: HookSource, headers: Record<string, string>, bytes = body) =>
    codeOf(() => verifyEvent(verifier, new Headers(headers), bytes, now));

  const standard = source(json, { type: "standard", secret_env: "SECRET" });
  const signed = signedHeaders(parseSecrets(SECRET), "msg_1", now, body);
  assert.equal(check(standard, signed), "none");
  assert.equal(verifyEvent(standard.verifier, new Headers(signed), body, now).id, "msg_1");
  for (const offset of [-299_000, 299_000]) {
    assert.equal(check(standard, signedHeaders(parseSecrets(SECRET), "msg_1", now + offset, body)), "none");
  }
  for (const offset of [-302_000, 302_000]) {
    assert.equal(
      check(standard, signedHeaders(parseSecrets(SECRET), "msg_1", now + offset, body)),
      "signature_invalid",
    );
  }
  for (
    const headers of [
      {},
      { ...signed, "webhook-id": "msg_2" },
      { ...signed, "webhook-timestamp": `${Number(signed["webhook-timestamp"]) + 1}` },
      { ...signed, "webhook-timestamp": "now" },
      { ...signed, "webhook-signature": "v1," },
      { ...signed, "webhook-signature": signed["webhook-signature"]!.replace("v1,", "v2,") },
    ]
  ) assert.equal(check(standard, headers as Record<string, string>), "signature_invalid", JSON.stringify(headers));
  assert.equal(check(standard, signed, other), "signature_invalid");

  // The example of GitHub's own documentation.
  const github = parseSources(
    JSON.stringify({ sources: { it: { ...json, verify: { type: "hmac-sha256", secret_env: "X" } } } }),
    () => "It's a Secret to Everybody",
  ).get("it")!;
  const hello = new TextEncoder().encode("Hello, World!");
  const documented = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
  assert.equal(check(github, { "x-hub-signature-256": documented }, hello), "none");
  for (
    const value of [
      "",
      documented.slice(7),
      documented.slice(0, -1),
      `${documented}00`,
      documented.replace("7", "8"),
      "sha256=",
    ]
  ) {
    assert.equal(check(github, { "x-hub-signature-256": value }, hello), "signature_invalid", value);
  }
  const own = source(json, { type: "hmac-sha256", secret_env: "WORD", header: "X-Signature", prefix: "" });
  const digest = createHmac("sha256", WORD).update(body).digest("hex");
  assert.equal(check(own, { "x-signature": digest }), "none");
  assert.equal(check(own, { "x-signature": digest }, other), "signature_invalid");

  const word = source(json);
  assert.equal(check(word, { authorization: `Bearer ${WORD}` }), "none");
  assert.equal(check(word, { authorization: WORD }), "none");
  for (const value of ["", "Bearer ", `Bearer ${WORD}!`, `Bearer ${WORD.slice(1)}`]) {
    assert.equal(check(word, { authorization: value }), "signature_invalid", value);
  }
});

Deno.test("hooks: what MinIO, AWS and Supabase send; objects that went are no pictures", async () => {
  const s3 = source({ events: "s3", store: { url: "http://minio:9000/{bucket}/{key}" } });
  const [item] = items(s3, minioEvent("photos", "a b/ü+ö.png"));
  assert.deepEqual(item!.place, { bucket: "photos", key: "a b/ü+ö.png" });
  assert.deepEqual(item!.metadata, { bucket: "photos", key: "a b/ü+ö.png" });
  assert.ok(Math.abs(item!.timeMs! - Date.now()) < 10_000);
  assert.equal((await urlOf(item!.place, s3.store)).url, "http://minio:9000/photos/a%20b/%C3%BC%2B%C3%B6.png");
  const twice = minioEvent("photos", "a.png");
  assert.equal(items(s3, twice)[0]!.id, items(s3, twice)[0]!.id);
  const later = minioEvent("photos", "a.png", { eventTime: "2020-01-01T00:00:00Z" });
  assert.notEqual(items(s3, twice)[0]!.id, items(s3, later)[0]!.id);
  const aws = minioEvent("photos", "a.png", {
    eventName: "ObjectCreated:CompleteMultipartUpload",
    eventSource: "aws:s3",
  });
  assert.equal(items(s3, aws).length, 1);
  assert.deepEqual(items(s3, minioEvent("photos", "a.png", { eventName: "s3:ObjectRemoved:Delete" })), []);
  assert.deepEqual(items(s3, { Service: "Amazon S3", Event: "s3:TestEvent", Bucket: "photos" }), []);
  for (const bad of [{ Records: [{}] }, [], 1, { Records: [{ eventName: "ObjectCreated:Put", s3: { bucket: {} } }] }]) {
    assert.equal(codeOf(() => items(s3, bad)), "invalid_request", JSON.stringify(bad));
  }
  assert.equal(codeOf(() => items(s3, "{")), "invalid_json");
  const record = (minioEvent("b", "k")["Records"] as unknown[])[0];
  assert.equal(codeOf(() => items(s3, { Records: new Array(65).fill(record) })), "invalid_request");

  const supabase = source({
    events: "supabase",
    store: { url: "https://x.supabase.co/storage/v1/object/public/{bucket}/{key}" },
  });
  const [inserted] = items(supabase, supabaseEvent("avatars", "me/a.png"));
  assert.equal(
    (await urlOf(inserted!.place, supabase.store)).url,
    "https://x.supabase.co/storage/v1/object/public/avatars/me/a.png",
  );
  assert.deepEqual(items(supabase, supabaseEvent("avatars", "a.png", "DELETE")), []);
});

Deno.test("hooks: keys that would lead out of their bucket are refused; private objects get a signature of their own", async () => {
  const open = source({ events: "s3", store: { url: "http://minio:9000/{bucket}/{key}" } });
  for (const key of ["../other/secret.png", "a/../../b", "./a", "a/.", "..", "/a"]) {
    await assert.rejects(urlOf({ bucket: "photos", key }, open.store), { code: "invalid_request" }, key);
  }
  for (const bucket of ["..", "a/b", "", "a..b", "?", "a#b"]) {
    await assert.rejects(urlOf({ bucket, key: "a" }, open.store), { code: "invalid_request" }, bucket);
  }
  const { url: at } = await urlOf({ bucket: "photos", key: "{bucket}?x=1#y&$&.png" }, open.store);
  assert.equal(new URL(at).pathname, "/photos/%7Bbucket%7D%3Fx%3D1%23y%26%24%26.png");
  const store = { url: "http://minio:9000/{bucket}/{key}", access_key_env: "ACCESS", secret_key_env: "HIDDEN" };
  const closed = source({ events: "s3", store });
  const { url, told } = await urlOf({ bucket: "photos", key: "a b.png" }, closed.store);
  const signed = new URL(url);
  assert.equal(told, "http://minio:9000/photos/a%20b.png");
  assert.equal(signed.pathname, "/photos/a%20b.png");
  assert.equal(signed.searchParams.get("X-Amz-Expires"), "300");
  assert.match(
    signed.searchParams.get("X-Amz-Credential")!,
    /^access-key-of-the-store\/\d{8}\/us-east-1\/s3\/aws4_request$/,
  );
  assert.match(signed.searchParams.get("X-Amz-Signature")!, /^[0-9a-f]{64}$/);
  assert.ok(!signed.href.includes(ENV["HIDDEN"]!));
});

Deno.test("hooks: CloudEvents structured, binary, in batches, with data in base64", () => {
  const from = source({
    events: "cloudevents",
    map: { url: "/data/url", metadata: { kind: "/type", who: "/data/who" } },
  });
  const event = {
    specversion: "1.0",
    id: "e1",
    source: "/cms",
    type: "picture.added",
    time: "2026-01-02T03:04:05Z",
    data: { url: "https://a.test/x.png", who: { name: "B" } },
  };
  const expected = { place: { url: "https://a.test/x.png" }, id: "/cms e1 0", timeMs: Date.parse(event.time) };
  const facts = ({ place, id, timeMs }: EventItem) => ({ place, id, timeMs });
  const structured = { "content-type": "application/cloudevents+json; charset=utf-8" };
  const [one] = items(from, event, structured);
  assert.deepEqual(facts(one!), expected);
  assert.deepEqual(one!.metadata, { kind: "picture.added", who: '{"name":"B"}' });
  const binary = {
    "content-type": "application/json",
    "ce-specversion": "1.0",
    "ce-id": "e1",
    "ce-source": "/cms",
    "ce-type": "picture.added",
    "ce-time": event.time,
  };
  assert.deepEqual(facts(items(from, event.data, binary)[0]!), expected);
  const batch = { "content-type": "application/cloudevents-batch+json" };
  assert.deepEqual(items(from, [event, { ...event, id: "e2" }], batch).map(({ id }) => id), ["/cms e1 0", "/cms e2 0"]);
  const { data, ...rest } = event;
  const data_base64 = new TextEncoder().encode(JSON.stringify(data)).toBase64();
  assert.deepEqual(facts(items(from, { ...rest, data_base64 }, structured)[0]!), expected);
  for (const bad of [{ ...event, specversion: "0.3" }, { ...event, id: "" }, rest, { ...rest, data_base64: "%" }]) {
    assert.equal(codeOf(() => items(from, bad, structured)), "invalid_request", JSON.stringify(bad));
  }
  assert.equal(codeOf(() => items(from, event.data, { "content-type": "application/json" })), "invalid_request");
});

Deno.test("hooks: any JSON by pointers, several pictures at once, only those that are wanted", () => {
  const map = {
    items: "/entries",
    url: "/image/href",
    id: "/id",
    time: "/at",
    metadata: { title: "/title", tags: "/tags", none: "/none" },
    where: { "/action": "created", "/draft": false },
  };
  const from = source({ events: "json", map });
  const entry = (id: number, change: Record<string, unknown> = {}) => ({
    id,
    action: "created",
    draft: false,
    at: 1_800_000_000,
    title: "T",
    tags: ["a", "b"],
    image: { href: `https://a.test/${id}.png` },
    ...change,
  });
  const found = items(from, {
    entries: [entry(1), entry(2, { draft: true }), entry(3, { action: "deleted" }), entry(4)],
  });
  assert.deepEqual(found.map(({ id }) => id), ["1", "4"]);
  assert.deepEqual(found[0]!.metadata, { title: "T", tags: '["a","b"]' });
  assert.equal(found[0]!.timeMs, 1_800_000_000_000);
  assert.deepEqual(items(from, { entries: [] }), []);
  assert.deepEqual(items(from, { other: 1 }), []);
  assert.equal(codeOf(() => items(from, { entries: [entry(1, { image: {} })] })), "invalid_request");
});

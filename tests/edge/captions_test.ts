/** /v1/captions before any worker runs them: what is taken, told, listed, cancelled, deleted and refused. */
import { jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { bucketStream, CAPTIONS_BUCKET, DURABLE_STREAM, JOBS_BUCKET, TILES_STREAM } from "@tessera/shared";
import assert from "node:assert/strict";
import { CaptionAnswer, CaptionListAnswer } from "../../edge/openapi/caption_answers.ts";
import { parseSecrets } from "../../edge/webhooks/signature.ts";
import { tagsOf } from "../../edge/captions/presets.ts";
import { badPicture, fakePicture } from "./fake_tile_pool.ts";
import { errorOf, type Harness, withEdge } from "./harness.ts";
import { FAKE_MODEL } from "./fake_worker.ts";

const post = ({ edge }: Harness, body: unknown, headers: Record<string, string> = {}, path = "") =>
  fetch(`${edge.url}/v1/captions${path}`, {
    method: "POST",
    headers: { ...(body instanceof FormData ? {} : { "content-type": "application/json" }), ...headers },
    body: body instanceof FormData ? body : JSON.stringify(body),
  });

async function submitted(harness: Harness, body: unknown, headers: Record<string, string> = {}) {
  const response = await post(harness, body, headers);
  assert.equal(response.status, 202, await response.clone().text());
  const caption = CaptionAnswer.parse(await response.json());
  assert.equal(response.headers.get("location"), `/v1/captions/${caption.id}`);
  return caption;
}

const get = ({ edge }: Harness, path = "", init: RequestInit = {}) => fetch(`${edge.url}/v1/captions${path}`, init);

/** Messages of each stream behind captions. */
async function numStored({ edge }: Harness): Promise<number[]> {
  const manager = await jetstreamManager(edge.deps.bus.connection);
  const names = [DURABLE_STREAM, TILES_STREAM, bucketStream(CAPTIONS_BUCKET)];
  return await Promise.all(names.map(async (name) => (await manager.streams.info(name)).state.messages));
}

/** The bytes of a fake picture. */
function pictureFile(seed: number, name = "p.png"): File {
  const base64 = fakePicture(1, 1, seed).split(",")[1]!;
  return new File([Uint8Array.fromBase64(base64)], name);
}

Deno.test("captions: taken, looked at, waited for, cancelled, deleted with all there is of it", () =>
  withEdge({}, async (harness) => {
    const caption = await submitted(harness, {
      images: [fakePicture(2, 1, 1), { url: fakePicture(1, 1, 2), detail: "low" }],
      combine: true,
      preset: "alt_text",
      language: "pt-BR",
      metadata: { order: "7" },
      max_tokens: 20,
    });
    assert.match(caption.id, /^cap-/);
    assert.deepEqual([caption.status, caption.output, caption.model], ["queued", null, FAKE_MODEL]);
    assert.deepEqual(caption.input.media, [{ type: "image", source: "data" }, { type: "image", source: "data" }]);
    assert.match(caption.input.prompt, /^Write alternative text .* Answer in Brazilian Portuguese\.$/);
    assert.deepEqual(caption.metadata, { order: "7" });
    assert.deepEqual(caption.images.map((image) => image?.tiles), [3, 1]);
    assert.equal(caption.expires_at - caption.created_at, 86_400);
    assert.deepEqual(await numStored(harness), [1, 4, 1]);
    assert.deepEqual(await (await get(harness, `/${caption.id}`)).json(), caption);

    const began = performance.now();
    const waited = await get(harness, `/${caption.id}`, { headers: { prefer: "respond, wait=1" } });
    assert.equal(waited.headers.get("preference-applied"), "wait=1");
    assert.equal((await waited.json()).status, "queued");
    assert.ok(performance.now() - began > 900);
    assert.equal((await post(harness, { image: fakePicture(1, 1) }, { prefer: "wait=1" })).status, 202);

    await errorOf(await get(harness, `/${caption.id}`, { headers: { authorization: "Bearer other" } }), 404);
    const canceled = CaptionAnswer.parse(await (await post(harness, {}, {}, `/${caption.id}/cancel`)).json());
    assert.equal(canceled.status, "canceled");
    assert.ok(canceled.completed_at !== null);
    assert.deepEqual((await numStored(harness))[1], 1, "the tiles of the other caption");
    const gone = await get(harness, `/${caption.id}`, { method: "DELETE" });
    assert.deepEqual(await gone.json(), { id: caption.id, object: "caption", deleted: true });
    const error = await errorOf(await get(harness, `/${caption.id}`), 404);
    assert.equal(error.message, `No such caption: ${caption.id}.`);
    await errorOf(await post(harness, {}, {}, `/${caption.id}/cancel`), 404);
    assert.deepEqual(await numStored(harness), [1, 1, 1]);
    const manager = await jetstreamManager(harness.edge.deps.bus.connection);
    const left = await manager.streams.getMessage(bucketStream(JOBS_BUCKET), {
      last_by_subj: `$KV.${JOBS_BUCKET}.${caption.id}`,
    });
    assert.equal(left?.data.length ?? 0, 0, "the state holds nothing any more");
  }));

Deno.test("captions: forms with files, stored files, keys that make one of two", () =>
  withEdge({}, async (harness) => {
    const form = new FormData();
    form.append("images", pictureFile(1, "a.png"));
    form.append("images[]", pictureFile(2, "b.png"));
    form.set("prompt", "What?");
    form.set("metadata", '{"a":"b"}');
    form.set("max_tokens", "5");
    form.set("combine", "true");
    const headers = { "idempotency-key": "form" };
    const caption = await submitted(harness, form, headers);
    assert.deepEqual([caption.images.length, caption.input.prompt, caption.metadata], [2, "What?", { a: "b" }]);
    assert.equal(caption.outputs.length, 1);
    // Sent again, a form has another boundary; it is the same request.
    const again = await post(harness, form, headers);
    assert.equal(again.headers.get("idempotency-replayed"), "true");
    assert.equal((await again.json()).id, caption.id);
    form.set("prompt", "Who?");
    await errorOf(await post(harness, form, headers), 422);

    const upload = new FormData();
    upload.set("purpose", "vision");
    upload.set("file", pictureFile(3));
    const file = await (await fetch(`${harness.edge.url}/v1/files`, { method: "POST", body: upload })).json();
    for (const image of [file.id, { file_id: file.id, detail: "low" }]) {
      const stored = await submitted(harness, { image });
      assert.deepEqual(stored.input.media, [{ type: "image", source: "file", file_id: file.id }]);
    }
    const asked = await harness.ask({
      messages: [{
        role: "user",
        content: [{ type: "image_url", image_url: { url: "file-0000000000000000000none" } }],
      }],
    });
    const error = await errorOf(asked, 404);
    assert.deepEqual([error.code, error.param], ["file_not_found", "messages[0].content[0]"]);
    await errorOf(await post(harness, { images: [file.id] }, { authorization: "Bearer other" }), 404);
  }));

Deno.test("captions: several pictures have a text each; one that cannot be used fails alone", () =>
  withEdge({}, async (harness) => {
    const { jobs, captions } = harness.edge.deps;
    const images = [fakePicture(2, 1, 1), badPicture("corrupt"), { url: fakePicture(1, 1, 2) }];
    const caption = await submitted(harness, { images, prompt: "What?", metadata: { order: "8" } });
    assert.deepEqual([caption.status, caption.output, caption.error], ["queued", null, null]);
    assert.deepEqual(caption.images.map((image) => image?.tiles ?? null), [3, null, 1]);
    assert.deepEqual(
      caption.outputs.map(({ index, status, text, error }) => [index, status, text, error?.code, error?.param]),
      [[0, "queued", null, undefined, undefined], [1, "failed", null, "image_corrupt", "images[1]"], [
        2,
        "queued",
        null,
        undefined,
        undefined,
      ]],
    );
    assert.deepEqual(await numStored(harness), [2, 4, 1]);
    assert.deepEqual(await (await get(harness, `/${caption.id}`)).json(), caption);
    const listed = CaptionListAnswer.parse(await (await get(harness)).json());
    assert.deepEqual(listed.data, [caption]);

    // As the workers that make them write their ends.
    const bucket = await new Kvm(harness.edge.deps.bus.connection).open(JOBS_BUCKET);
    const end = async (index: number, fields: Record<string, unknown>) => {
      const id = `${caption.id}-${index}`;
      await bucket.put(id, JSON.stringify({ ...await jobs.status(id), ...fields }));
    };
    const look = async () => CaptionAnswer.parse(await (await get(harness, `/${caption.id}`)).json());
    const usage = { prompt_tokens: 30, completion_tokens: 12, image_tokens: 4, cached_tokens: 0 };
    const times = { started_ms: caption.created_at * 1_000 + 2_000, completed_ms: caption.created_at * 1_000 + 5_000 };
    const choices = [{ ids: [1], text: "A dog.", finish_reason: "stop" }];
    await end(0, { status: "succeeded", choices, usage, ...times });
    const half = await look();
    assert.deepEqual([half.status, half.completed_at, half.outputs[0]!.text], ["processing", null, "A dog."]);
    const error = { code: "worker_crashed", message: "It ended them.", param: null };
    await end(2, { status: "failed", error, ...times });
    const whole = await look();
    assert.deepEqual([whole.status, whole.error, whole.usage?.total_tokens], ["succeeded", null, 42]);
    assert.deepEqual(whole.outputs.map(({ error }) => error?.code), [undefined, "image_corrupt", "worker_crashed"]);
    assert.equal(whole.completed_at, caption.created_at + 5);

    await end(0, { status: "failed", error, choices: [{ ids: [], text: "", finish_reason: null }] });
    assert.deepEqual([(await look()).status, (await look()).error?.code], ["failed", "worker_crashed"]);
    const other = await submitted(harness, { images: [fakePicture(1, 1, 3), fakePicture(1, 1, 4)] });
    const canceled = CaptionAnswer.parse(await (await post(harness, {}, {}, `/${other.id}/cancel`)).json());
    assert.deepEqual(canceled.outputs.map(({ status }) => status), ["canceled", "canceled"]);
    assert.equal(canceled.status, "canceled");
    for (const { id } of [caption, other]) {
      assert.equal((await get(harness, `/${id}`, { method: "DELETE" })).status, 200);
    }
    // The tiles of those that ended by hand are their worker's to take away.
    assert.deepEqual((await numStored(harness)).slice(1), [4, 0]);
    assert.equal(await jobs.status(`${other.id}-1`), null);
    assert.equal(await captions.find("anonymous", caption.id), null);
  }));

Deno.test("captions: pages by cursor", () =>
  withEdge({}, async (harness) => {
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) ids.push((await submitted(harness, { image: fakePicture(1, 1, i) })).id);
    const page = async (query: string) => CaptionListAnswer.parse(await (await get(harness, query)).json());
    const first = await page("?limit=2");
    assert.deepEqual([first.data.length, first.has_more], [2, true]);
    const second = await page(`?limit=2&after=${first.last_id}`);
    assert.deepEqual([...first.data, ...second.data].map(({ id }) => id), ids.toSorted().reverse());
    assert.equal(second.has_more, false);
  }));

Deno.test("captions: webhooks are taken where there is a secret to sign with, by the rules for addresses", async () => {
  const webhook = "https://hooks.invalid/hook";
  await withEdge({}, async (harness) => {
    const error = await errorOf(await post(harness, { image: fakePicture(1, 1), webhook }), 400);
    assert.deepEqual([error.code, error.param], ["webhooks_unavailable", "webhook"]);
  });
  const webhookSecrets = parseSecrets(`whsec_${new Uint8Array(32).fill(7).toBase64()}`);
  await withEdge({ config: { webhookSecrets } }, async (harness) => {
    const caption = await submitted(harness, {
      image: fakePicture(1, 1),
      webhook,
      webhook_events_filter: ["completed", "start"],
      webhook_body: "thin",
    });
    const target = { url: webhook, events: ["start", "completed"], body: "thin" };
    assert.deepEqual(caption.webhook, target);
    const job = await harness.edge.deps.jobs.status(caption.id);
    assert.deepEqual(job?.webhook, { ...target, owner: "anonymous", caption_id: caption.id });
    const inside = await errorOf(await post(harness, { image: fakePicture(1, 1), webhook: "https://127.0.0.1/" }), 400);
    assert.equal(inside.code, "webhook_url_forbidden");
  });
});

Deno.test("captions: what is wrong is named in the caption's own words, and nothing of it is kept", () =>
  withEdge({}, async (harness) => {
    const image = fakePicture(1, 1);
    const cases: [unknown, number, string, string | null][] = [
      [{}, 400, "invalid_request", "image"],
      [{ image, images: [image] }, 400, "invalid_request", "images"],
      [{ image, prompt: "a", preset: "short" }, 400, "invalid_request", "preset"],
      [{ image, preset: "none" }, 400, "invalid_request", "preset"],
      [{ image, language: "xx-notalanguage" }, 400, "invalid_request", "language"],
      [{ image, model: "none" }, 404, "model_not_found", "model"],
      [{ image, stream: true }, 400, "unsupported_parameter", "stream"],
      [{ image, webhook_body: "thin" }, 400, "invalid_request", "webhook_body"],
      [{ image, temperature: 3 }, 400, "invalid_request", "temperature"],
      [{ image: badPicture("corrupt") }, 400, "image_corrupt", "image"],
      [{ images: [image, badPicture("corrupt")], combine: true }, 400, "image_corrupt", "images[1]"],
      [{ images: [badPicture("corrupt"), badPicture("corrupt")] }, 400, "image_corrupt", "images[0]"],
      [{ images: [image, image], preset: "none" }, 400, "invalid_request", "preset"],
      [{ images: [image, "http://example.org/x.png"], model: "none" }, 404, "model_not_found", "model"],
      [{ image: "http://example.org/x.png" }, 400, "image_url_invalid", "image"],
      [{ video: "data:video/mp4;base64,AAAA" }, 400, "video_unsupported_format", "video"],
      [
        { image, metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [i, ""])) },
        400,
        "invalid_request",
        "metadata",
      ],
    ];
    for (const [body, status, code, param] of cases) {
      const error = await errorOf(await post(harness, body), status);
      assert.deepEqual([error.code, error.param], [code, param], JSON.stringify(body).slice(0, 100));
    }
    for (const after of ["1", "x", "2d", "25h"]) {
      const error = await errorOf(await post(harness, { image }, { "cancel-after": after }), 400);
      assert.equal(error.param, "Cancel-After");
    }
    const short = await submitted(harness, { image }, { "cancel-after": "5m" });
    assert.ok(Math.abs(short.expires_at - short.created_at - 300) <= 1);
    assert.deepEqual(await numStored(harness), [1, 1, 1]);
    assert.equal((await get(harness, "", { method: "PATCH" })).headers.get("allow"), "GET, POST");
  }));

Deno.test("captions: tags are read from JSON, and from what small models write in its place", () => {
  assert.deepEqual(tagsOf('Here: ["dog", "beach", "dog", 3]'), ["dog", "beach"]);
  assert.deepEqual(tagsOf("- dog\n- a beach\n"), ["dog", "a beach"]);
  assert.deepEqual(tagsOf("1. dog, sand, sea."), ["dog", "sand", "sea"]);
  assert.deepEqual(tagsOf('["dog", "bea'), ["dog", "bea"]);
  assert.deepEqual(tagsOf(""), []);
});

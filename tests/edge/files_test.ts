/** /v1/files: stored as they come, listed by cursor, read back byte for byte, seen by their owner alone, gone when deleted. */
import { jetstreamManager } from "@nats-io/jetstream";
import { bucketStream, FILE_RECORDS_BUCKET, FILES_BUCKET, objectStream } from "@tessera/shared";
import assert from "node:assert/strict";
import { FileAnswer, FileListAnswer } from "../../edge/openapi/file_answers.ts";
import { FileStore, resolveFile } from "../../edge/files/file_store.ts";
import { uncheckedCaller } from "../../edge/auth/caller.ts";
import { errorOf, type Harness, until, withEdge } from "./harness.ts";

type Fields = Readonly<Record<string, string>>;

function formOf(bytes: Uint8Array<ArrayBuffer> | string, filename: string, fields: Fields): FormData {
  const form = new FormData();
  form.set("file", new File([bytes], filename, { type: "image/png" }));
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  return form;
}

const as = (key: string) => ({ authorization: `Bearer ${key}` });

async function upload({ edge }: Harness, form: FormData, key = "a"): Promise<Response> {
  await until(() => edge.deps.bus.isConnected);
  return await fetch(`${edge.url}/v1/files`, { method: "POST", headers: as(key), body: form });
}

async function uploaded(
  harness: Harness,
  name: string,
  content: Uint8Array<ArrayBuffer> | string,
  fields: Fields = {},
) {
  const response = await upload(harness, formOf(content, name, { purpose: "user_data", ...fields }));
  assert.equal(response.status, 200, await response.clone().text());
  return FileAnswer.parse(await response.json());
}

const get = ({ edge }: Harness, path: string, key = "a", init: RequestInit = {}) =>
  fetch(`${edge.url}/v1/files${path}`, { headers: as(key), ...init });

/** Messages in the streams behind the store. */
async function numStored({ edge }: Harness): Promise<number> {
  const manager = await jetstreamManager(edge.deps.bus.connection);
  const infos = [objectStream(FILES_BUCKET), bucketStream(FILE_RECORDS_BUCKET)].map((name) =>
    manager.streams.info(name)
  );
  return (await Promise.all(infos)).reduce((sum, { state }) => sum + state.messages, 0);
}

Deno.test("files: what was uploaded is read back, by its owner alone, until it is deleted", () =>
  withEdge({ worker: false }, async (harness) => {
    const bytes = crypto.getRandomValues(new Uint8Array(65_536));
    const whole = new Uint8Array(65_536 * 31 + 5).map((_, i) => bytes[i % 65_535]!);
    const before = Math.floor(Date.now() / 1000);
    const file = await uploaded(harness, "a name ü'(1).png", whole, { purpose: "vision" });
    assert.deepEqual([file.bytes, file.filename, file.purpose, file.status], [
      whole.length,
      "a name ü'(1).png",
      "vision",
      "processed",
    ]);
    assert.ok(file.created_at >= before && file.expires_at === file.created_at + 30 * 86_400);
    assert.deepEqual(await (await get(harness, `/${file.id}`)).json(), file);
    const content = await get(harness, `/${file.id}/content`);
    assert.equal(content.headers.get("content-type"), "application/octet-stream");
    assert.equal(content.headers.get("content-length"), String(whole.length));
    assert.match(
      content.headers.get("content-disposition")!,
      /^attachment; filename\*=UTF-8''a%20name%20%C3%BC%27%281%29.png$/,
    );
    assert.deepEqual(new Uint8Array(await content.arrayBuffer()), whole);
    const { files } = harness.edge.deps;
    const { tenant: owner } = await uncheckedCaller("a");
    const resolved = await resolveFile(files, owner, file.id);
    assert.deepEqual([resolved.bytes.length, resolved.contentType], [whole.length, "image/png"]);

    for (const path of [`/${file.id}`, `/${file.id}/content`, "/file-none"]) {
      const error = await errorOf(await get(harness, path, "b"), 404);
      assert.match(error.message, /^No such File object: file-/);
      assert.deepEqual([error.type, error.param], ["invalid_request_error", "id"]);
    }
    await errorOf(await get(harness, `/${file.id}`, "b", { method: "DELETE", headers: as("b") }), 404);
    assert.equal((await (await get(harness, "", "b")).json()).data.length, 0);
    const gone = await get(harness, `/${file.id}`, "a", { method: "DELETE", headers: as("a") });
    assert.deepEqual(await gone.json(), { id: file.id, object: "file", deleted: true });
    await errorOf(await get(harness, `/${file.id}/content`), 404);
    await errorOf(await get(harness, `/${file.id}`, "a", { method: "DELETE", headers: as("a") }), 404);
    // The object store keeps a note that there was something.
    assert.equal(await numStored(harness), 1);

    const empty = await uploaded(harness, "empty", "");
    assert.equal(await (await get(harness, `/${empty.id}/content`)).text(), "");
  }));

Deno.test("files: pages by cursor in both orders, by purpose", () =>
  withEdge({ worker: false }, async (harness) => {
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) {
      ids.push((await uploaded(harness, `${i}.jsonl`, `${i}`, { purpose: i === 2 ? "batch" : "user_data" })).id);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const page = async (query: string) => FileListAnswer.parse(await (await get(harness, query)).json());
    const all = await page("");
    assert.deepEqual(all.data.map(({ id }) => id), ids.toReversed());
    assert.deepEqual([all.first_id, all.last_id, all.has_more], [ids[4], ids[0], false]);
    for (const order of ["asc", "desc"] as const) {
      const seen: string[] = [];
      let after = "";
      for (let hasMore = true; hasMore;) {
        const { data, has_more, last_id } = await page(`?limit=2&order=${order}${after}`);
        seen.push(...data.map(({ id }) => id));
        hasMore = has_more;
        after = `&after=${last_id}`;
      }
      assert.deepEqual(seen, order === "asc" ? ids : ids.toReversed());
    }
    assert.deepEqual((await page("?purpose=batch")).data.map(({ id }) => id), [ids[2]]);
    // A page is of those that are asked for.
    const rest = await page("?purpose=user_data&limit=3&order=asc");
    assert.deepEqual([rest.data.length, rest.has_more], [3, true]);
    for (
      const [query, param] of [["?limit=0", "limit"], ["?order=up", "order"], ["?after=x", "after"], [
        "?purpose=x",
        "purpose",
      ]]
    ) {
      assert.equal((await errorOf(await get(harness, query!), 400)).param, param);
    }
  }));

Deno.test("files: what is wrong with an upload is said, and leaves nothing", () =>
  withEdge({ worker: false }, async (harness) => {
    const cases: [FormData, number, string | null, RegExp][] = [
      [formOf("x", "x.png", {}), 400, "purpose", /^'purpose' is a required property$/],
      [
        formOf("x", "x.png", { purpose: "none" }),
        400,
        "purpose",
        /^'none' is not one of \['batch', 'vision', 'user_data'\] - 'purpose'$/,
      ],
      [formOf("x", "x.png", { purpose: "batch" }), 400, "file", /Must be \.jsonl/],
      [formOf("x", "x.png", { purpose: "vision", more: "1" }), 400, "more", /does not support more/],
      [
        formOf("x", "x", { purpose: "vision", "expires_after[seconds]": "9" }),
        400,
        "expires_after[anchor]",
        /created_at/,
      ],
      [
        formOf("x", "x", { purpose: "vision", "expires_after[anchor]": "created_at", "expires_after[seconds]": "9" }),
        400,
        "expires_after[seconds]",
        /3600 to 2592000/,
      ],
    ];
    const noFile = new FormData();
    noFile.set("purpose", "vision");
    cases.push([noFile, 400, "file", /^'file' is a required property$/]);
    const two = formOf("x", "x.png", { purpose: "vision" });
    two.append("file", new File(["y"], "y.png"));
    cases.push([two, 413, null, /too many parts/]);
    const long = formOf("x", "x.png", { purpose: "x".repeat(2_000) });
    cases.push([long, 413, null, /too long/]);
    for (const [form, status, param, message] of cases) {
      const error = await errorOf(await upload(harness, form), status);
      assert.equal(error.param, param);
      assert.match(error.message, message);
    }
    // More than is on its way at once, refused before anybody reads of it.
    const strange = new FormData();
    strange.set("strange", new File([new Uint8Array(2_000_000)], "x.png"));
    assert.equal((await errorOf(await upload(harness, strange), 400)).param, "strange");
    const send = (body: BodyInit, type: string) =>
      fetch(`${harness.edge.url}/v1/files`, { method: "POST", headers: { "content-type": type, ...as("a") }, body });
    await errorOf(await send("{}", "application/json"), 415);
    await errorOf(await send("x", "multipart/form-data"), 400);
    const cut = '--b\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\nabc';
    await errorOf(await send(cut, "multipart/form-data; boundary=b"), 400);
    assert.deepEqual((await (await get(harness, "")).json()).data, []);
    // Notes that there was something: of those whose bytes came before the fault was seen.
    assert.ok(await numStored(harness) <= cases.length);
  }));

Deno.test("files: what an edge left that ended in the middle of an upload is swept away, and files that are too old", () =>
  withEdge({ worker: false }, async (harness) => {
    const { files, bus } = harness.edge.deps;
    const file = await uploaded(harness, "kept", "kept");
    const { tenant: owner } = await uncheckedCaller("a");
    // Pieces without an object, and an object that never became a file.
    bus.connection.publish(`$O.${FILES_BUCKET}.C.left`, new Uint8Array(9));
    const unpublished = await files.store(ReadableStream.from([new Uint8Array(9)]));
    const short = { purpose: "user_data", filename: "x", contentType: "", expiresInMs: 1 } as const;
    const old = await files.publish(owner, await files.store(ReadableStream.from([new Uint8Array(9)])), short);
    const manager = await jetstreamManager(bus.connection);
    const numPieces = async () => {
      const info = await manager.streams.info(objectStream(FILES_BUCKET), {
        subjects_filter: `$O.${FILES_BUCKET}.C.>`,
      });
      return Object.keys(info.state.subjects ?? {}).length;
    };
    await until(async () => await numPieces() === 4 && Date.now() > old.expires_ms);
    assert.equal(await files.sweep(), 1, "what came a moment ago may be an upload on its way");
    assert.equal(await numPieces(), 3);
    assert.equal(await files.sweep(0), 2);
    assert.equal(await numPieces(), 1);
    assert.equal(await (await get(harness, `/${file.id}/content`)).text(), "kept");
    await errorOf(await get(harness, `/${unpublished.id}`), 404);
  }));

Deno.test("files: what is too long, or breaks off, leaves nothing", () =>
  withEdge({ worker: false }, async (harness) => {
    const { edge } = harness;
    await until(() => edge.deps.bus.isConnected);
    const piece = new Uint8Array(1024 * 1024);
    const stored = new FileStore(edge.deps.bus, 3 * piece.length).store(
      ReadableStream.from([piece, piece, piece, piece]),
    );
    await assert.rejects(stored, { code: "request_too_large", message: "The file is larger than 3 MiB." });
    const manager = await jetstreamManager(edge.deps.bus.connection);
    const numPieces = async () => (await manager.streams.info(objectStream(FILES_BUCKET))).state.messages;
    assert.equal(await numPieces(), 0);

    const head = '--b\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\n';
    let numLeft = 4;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode(head)),
      pull: async (controller) => {
        if (numLeft-- === 0) await new Promise(() => {});
        controller.enqueue(piece);
      },
    });
    const leaving = new AbortController();
    const headers = { "content-type": "multipart/form-data; boundary=b", ...as("a") };
    const left = fetch(`${edge.url}/v1/files`, { method: "POST", headers, body, signal: leaving.signal });
    const ended = left.catch(() => null);
    await until(async () => await numPieces() > 3);
    leaving.abort();
    await ended;
    await until(async () => await numPieces() === 0);
  }));

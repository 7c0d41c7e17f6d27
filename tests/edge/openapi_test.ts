/** The document and its page: valid OpenAPI 3.1, made of the schemas that check requests, true of what is answered. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { Validator } from "@seriousme/openapi-schema-validator";
import { ERROR_CODES, TesseraError } from "@tessera/shared";
import {
  CompletionAnswer,
  ErrorAnswer,
  HealthAnswer,
  HomeAnswer,
  InspectionAnswer,
  ModelAnswer,
  ModelListAnswer,
  ReadyAnswer,
} from "../../edge/openapi/answers.ts";
import { type Document, openApiDocument } from "../../edge/openapi/document.ts";
import { NOTES } from "../../edge/openapi/notes.ts";
import { createTilePool } from "../../edge/tile/mod.ts";
import { png } from "../support/png_writer.ts";
import { dataUrl } from "./fake_tile_pool.ts";
import { FAKE_MODEL } from "./fake_worker.ts";
import { errorOf, withEdge } from "./harness.ts";

Deno.test("openapi: the document is valid, and every reference leads somewhere", async () => {
  const validator = new Validator();
  const result = await validator.validate(structuredClone(openApiDocument()) as never);
  assert.ok(result.valid, JSON.stringify(result.errors, null, 2));
  assert.equal(validator.version, "3.1");
  const references = JSON.stringify(openApiDocument()).match(/"#\/[^"]+"/g)!.map((text) => JSON.parse(text) as string);
  for (const reference of references) {
    let found: unknown = openApiDocument();
    for (const key of reference.slice(2).split("/")) found = (found as Record<string, unknown>)[key];
    assert.ok(found !== undefined, reference);
  }
});

Deno.test("openapi: every status an error may have is a documented refusal", () => {
  const known = new Set(Object.keys(openApiDocument().components.responses).map((name) => Number(name.slice(-3))));
  for (const code of ERROR_CODES) {
    const { status } = new TesseraError(code);
    // Nobody hears 499; the rest belong to routes that are not documented here.
    if (status !== 499) assert.ok(known.has(status), `${code}: ${status}`);
  }
});

Deno.test("openapi: notes are of fields there are", () => {
  for (const [name, notes] of Object.entries(NOTES)) {
    const schema = openApiDocument().components.schemas[name]!;
    const branches = schema["anyOf"] as { properties: object }[] | undefined ?? [schema as { properties: object }];
    for (const field of Object.keys(notes)) {
      assert.ok(branches.some(({ properties }) => field in properties), `${name}.${field}`);
    }
  }
});

Deno.test("openapi: what the server answers is what the document says", async () => {
  const tilePool = createTilePool({ workers: 1 });
  await tilePool.ready;
  await withEdge({ tilePool }, async ({ edge, ask, worker }) => {
    const get = async (path: string) => await (await fetch(`${edge.url}${path}`)).json();
    const served = await get("/openapi.json") as Document;
    assert.deepEqual(served, JSON.parse(JSON.stringify(openApiDocument())));
    HomeAnswer.parse(await get("/"));
    HealthAnswer.parse(await get("/healthz"));
    ReadyAnswer.parse(await get("/readyz"));
    ModelListAnswer.parse(await get("/v1/models"));
    const model = ModelAnswer.parse(await get(`/v1/models/${FAKE_MODEL}`));
    assert.equal(model.tessera.limits["images"], 64);
    assert.deepEqual([model.tessera.context_length, model.tessera.tokens_per_tile], [1_000, 4]);
    worker.serve(["Hello", " there"]);
    CompletionAnswer.parse(await (await ask()).json());
    ErrorAnswer.parse(await (await ask({ temperature: 3 })).json());
    const inspect = async (body: unknown) => {
      const headers = { "content-type": "application/json" };
      const response = await fetch(`${edge.url}/v1/images/inspect`, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
      });
      InspectionAnswer.parse(await response.json());
    };
    const url = dataUrl(await png(4, 4, () => 0));
    await inspect({ url });
    await inspect({ images: [{ url }, { url: "data:;base64,AAAA" }] });
  }).finally(() => tilePool.close());
});

Deno.test("docs: a page that stands alone, with every operation and field, and no way to run a script", () =>
  withEdge({ worker: false }, async ({ edge }) => {
    const response = await fetch(`${edge.url}/docs`);
    assert.match(response.headers.get("content-type")!, /^text\/html/);
    assert.match(response.headers.get("content-security-policy")!, /default-src 'none'/);
    const html = await response.text();
    assert.doesNotMatch(html, /<script|src=|@import|url\(/i);
    for (const [path, methods] of Object.entries(openApiDocument().paths)) {
      assert.ok(html.includes(`<code>${path}</code>`), path);
      for (const { operationId } of Object.values(methods)) {
        assert.ok(html.includes(`id="${operationId}"`), operationId);
      }
    }
    for (const field of ["temperature", "messages[].content[].image_url.url", "mm_processor_kwargs.use_thumbnail"]) {
      assert.ok(html.includes(`<code>${field}</code>`), field);
    }
    const error = await errorOf(await fetch(`${edge.url}/docs`, { method: "POST" }), 405);
    assert.equal(error.code, "method_not_allowed");
  }));

Deno.test("openapi: TRACE, which no fetch handler can be given, is refused as every method that is not there", () =>
  withEdge({ worker: false }, async ({ edge }) => {
    for (const [path, status] of [["/v1/models", 405], ["/nowhere", 404]] as const) {
      const code = await new Promise((resolve, reject) => {
        const asked = request(`${edge.url}${path}`, { method: "TRACE" }, (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        });
        asked.on("error", reject).end();
      });
      assert.equal(code, status, path);
    }
  }));

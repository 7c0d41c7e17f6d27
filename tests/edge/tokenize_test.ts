/** POST /v1/tokenize with a true worker's answers: ids, counts of whole prompts with pictures, refusals, no worker. */
import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { silentLogger, tokenizeSubject } from "@tessera/shared";
import { createTilePool } from "../../edge/tile/mod.ts";
import { TokenizationAnswer } from "../../edge/openapi/answers.ts";
import { TokenizeResponder } from "../../gpu-worker/intake/tokenize.ts";
import { buildPrompt } from "../../gpu-worker/prompt/prompt.ts";
import { png } from "../support/png_writer.ts";
import { ADDED, handmadeTokenizer, MERGED } from "../worker/handmade_tokenizer.ts";
import { FACTS } from "../worker/stage.ts";
import { dataUrl } from "./fake_tile_pool.ts";
import { FAKE_MODEL } from "./fake_worker.ts";
import { errorOf, type Harness, withEdge } from "./harness.ts";

const tokenizer = handmadeTokenizer();
const facts = { ...FACTS, name: FAKE_MODEL, tileSize: 28, tokensPerTile: 4 };

async function withWorker(body: (ask: (request: unknown) => Promise<Response>, harness: Harness) => Promise<void>) {
  const tilePool = createTilePool({ workers: 1 });
  await tilePool.ready;
  try {
    await withEdge({ tilePool }, async (harness) => {
      const nc = await connect({ servers: harness.natsUrl });
      const responder = new TokenizeResponder({ nc, tokenizer, facts, log: silentLogger });
      await nc.flush();
      const ask = (request: unknown) =>
        fetch(`${harness.edge.url}/v1/tokenize`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(request),
        });
      await body(ask, harness);
      responder.stop();
      await nc.close();
    });
  } finally {
    await tilePool.close();
  }
}

const parsed = async (response: Response) => TokenizationAnswer.parse(await response.json());

Deno.test("tokenize: a text's ids and what each stands for; control tokens in it are text", () =>
  withWorker(async (ask) => {
    const { tokens, token_strs, count, model, max_model_len } = await parsed(
      await ask({ prompt: "hello é<ref>", return_token_strs: true }),
    );
    assert.deepEqual(tokens, [MERGED.hello, 32, 0xc3, 0xa9, ADDED["<ref>"]]);
    assert.deepEqual(token_strs, ["hello", " ", "\ufffd", "\ufffd", ""]);
    assert.deepEqual([count, model, max_model_len], [5, FAKE_MODEL, 1_000]);
    const typed = await parsed(await ask({ model: FAKE_MODEL, prompt: "<|im_end|>" }));
    assert.equal(typed.tokens!.length, "<|im_end|>".length);
    assert.deepEqual((await parsed(await ask({ prompt: "" }))).tokens, []);
  }));

Deno.test("tokenize: of messages the whole prompt, pictures by their headers", () =>
  withWorker(async (ask) => {
    const wide = dataUrl(await png(56, 28, () => 0));
    const content = [{ type: "image_url", image_url: { url: wide } }, { type: "text", text: "hello" }];
    const answer = await parsed(await ask({ messages: [{ role: "user", content }], return_tokens: false }));
    const image = { width: 1, height: 1, cols: 2, rows: 1, tile_size: 28, tiles: ["a", "b", "c"] };
    const messages = [{
      role: "user" as const,
      parts: [{ type: "image" as const, image: 0 }, { type: "text" as const, text: "hello" }],
    }];
    const prompt = buildPrompt({ messages, images: [image] }, tokenizer, facts);
    assert.deepEqual([answer.count, answer.image_tokens, answer.tokens], [prompt.tokenIds.length, 12, null]);
    const one = await ask({
      messages: [{ role: "user", content }],
      mm_processor_kwargs: { max_dynamic_patch: 1 },
    });
    assert.equal((await parsed(one)).image_tokens, 4);
  }));

Deno.test("tokenize: a video is its frames, one tile each, without a look at it", () =>
  withWorker(async (ask) => {
    const video = (more: object) => ({ type: "video_url", video_url: { url: "https://example.org/a.mp4", ...more } });
    const messages = (more: object) => [{ role: "user", content: [video(more), { type: "text", text: "hello" }] }];
    assert.equal((await parsed(await ask({ messages: messages({ num_segments: 5 }) }))).image_tokens, 20);
    const error = await errorOf(await ask({ messages: messages({ max_dynamic_patch: 2 }) }), 400);
    assert.equal(error.param, "messages[0].content[0].video_url.max_dynamic_patch");
  }));

Deno.test("tokenize: what is wrong is told with its place", () =>
  withWorker(async (ask) => {
    const code = async (request: unknown, status = 400) => {
      const { code, param } = await errorOf(await ask(request), status);
      return `${code} ${param}`;
    };
    assert.equal(await code({}), "invalid_request prompt");
    assert.equal(await code({ prompt: "a", messages: [] }), "invalid_request prompt");
    assert.equal(await code({ prompt: 1 }), "invalid_request prompt");
    assert.equal(await code([]), "invalid_request prompt");
    assert.equal(await code({ messages: [{ role: "cat", content: "" }] }), "invalid_request messages[0].role");
    const picture = { type: "image_url", image_url: { url: "data:;base64,AAAA" } };
    assert.equal(
      await code({ messages: [{ role: "user", content: [picture] }] }),
      "image_unsupported_format messages[0].content[0]",
    );
    assert.equal(await code({ model: "other", prompt: "a" }, 404), "model_not_found model");
    assert.equal(await code({ prompt: "a".repeat(1_000_001) }, 413), "request_too_large prompt");
    // Too long to list, not too long to count.
    const long = "a b".repeat(200_000);
    assert.match(await code({ prompt: long }, 413), /request_too_large/);
    assert.equal((await parsed(await ask({ prompt: long, return_tokens: false }))).count, 600_000);
  }));

Deno.test("tokenize: a model whose workers do not count is no hang", () =>
  withEdge({}, async ({ edge, natsUrl }) => {
    const ask = () =>
      fetch(`${edge.url}/v1/tokenize`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ prompt: "a" }),
      });
    assert.equal((await errorOf(await ask(), 503)).code, "no_worker");
    const nc = await connect({ servers: natsUrl });
    nc.subscribe(tokenizeSubject(FAKE_MODEL), { callback: (_error, msg) => void msg.respond("what?") });
    await nc.flush();
    assert.equal((await errorOf(await ask(), 500)).code, "internal_error");
    await nc.close();
  }));

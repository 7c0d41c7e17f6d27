/** Streaming and whole answers over real NATS with a fake worker, byte for byte and through OpenAI's own client. */
import { Sampling } from "@tessera/shared";
import OpenAI from "openai";
import assert from "node:assert/strict";
import { fakePicture } from "./fake_tile_pool.ts";
import { FAKE_MODEL } from "./fake_worker.ts";
import { about, sseItems, withEdge } from "./harness.ts";

Deno.test("streaming: the chunks of OpenAI's protocol, in order", async () => {
  await withEdge({}, async ({ ask, worker }) => {
    const asked = ask({
      messages: [about([fakePicture(2, 1)])],
      stream: true,
      stream_options: { include_usage: true },
    }, {});
    const job = await worker.pull();
    assert.deepEqual(await job.take(), []);
    job.tokens(0, [7], "");
    job.tokens(1, [8, 9], "Ein ");
    const response = await asked;
    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
    assert.equal(response.headers.get("x-accel-buffering"), "no");
    assert.ok(response.headers.get("x-request-id"));
    const items = sseItems(response);
    const next = async () => JSON.parse((await items.next()).value!);

    const first = await next();
    assert.match(first.id, /^chatcmpl-/);
    assert.equal(first.object, "chat.completion.chunk");
    assert.equal(first.model, FAKE_MODEL);
    assert.deepEqual(first.choices[0].delta, { role: "assistant", content: "" });
    assert.equal(first.choices[0].finish_reason, null);
    assert.equal(first.usage, null);
    const second = await next();
    assert.deepEqual(second.choices[0].delta, { content: "Ein " });
    assert.equal(second.id, first.id);

    job.tokens(3, [10], "Kreis");
    assert.deepEqual((await next()).choices[0].delta, { content: "Kreis" });
    job.done(4, ".", "length");
    await job.ack();
    assert.deepEqual((await next()).choices[0].delta, { content: "." });
    const last = await next();
    assert.deepEqual(last.choices[0].delta, {});
    assert.equal(last.choices[0].finish_reason, "length");
    const stagesOfOne = { fetch_ms: 0, wait_ms: 0, decode_ms: 1.3, resize_ms: 2, cut_ms: 0.5, hash_ms: 0.1 };
    assert.deepEqual(last.tessera.images, [{ width: 640, height: 480, cols: 2, rows: 1, tiles: 3, ...stagesOfOne }]);
    const stages = ["fetch", "decode", "tile", "queue", "vision", "prefill", "generate", "first_token", "total"];
    for (const stage of stages) assert.equal(typeof last.tessera.timings[`${stage}_ms`], "number", stage);
    assert.equal(last.tessera.timings.decode_ms, 1.3);
    assert.equal(last.tessera.timings.generate_ms, 5);
    const usage = await next();
    assert.deepEqual(usage.choices, []);
    assert.deepEqual(usage.usage, {
      prompt_tokens: 22,
      completion_tokens: 4,
      total_tokens: 26,
      prompt_tokens_details: { cached_tokens: 3, image_tokens: 12 },
    });
    assert.equal((await items.next()).value, "[DONE]");
    assert.equal((await items.next()).done, true);
  });
});

Deno.test("the job: parts in order, pictures as indices, sampling filled in, tiles as asked for", async () => {
  await withEdge({}, async ({ ask, worker }) => {
    const asked = ask({
      messages: [
        { role: "developer", content: "Be brief." },
        about([fakePicture(1, 1, 1), fakePicture(2, 2, 2)], "Compare <image>."),
        { role: "assistant", content: "They differ." },
        {
          role: "user",
          content: [
            { type: "text", text: "And" },
            { type: "image_url", image_url: { url: fakePicture(3, 3, 3), detail: "low" } },
          ],
        },
      ],
      top_p: 0.5,
      top_k: 20,
      seed: -5,
      max_tokens: 9,
      max_completion_tokens: 8,
      stop: "END",
      user: "u",
      metadata: { a: "b" },
      unheard_of: 1,
      mm_processor_kwargs: { use_thumbnail: false },
    });
    const job = await worker.pull();
    const { messages, images, sampling, edge_id } = job.job;
    assert.deepEqual(messages.map(({ role }) => role), ["system", "user", "assistant", "user"]);
    assert.deepEqual(messages[1]!.parts, [
      { type: "image", image: 0 },
      { type: "image", image: 1 },
      { type: "text", text: "Compare <image>." },
    ]);
    assert.deepEqual(messages[3]!.parts, [{ type: "text", text: "And" }, { type: "image", image: 2 }]);
    assert.deepEqual(images.map(({ tiles }) => tiles.length), [1, 4, 1]);
    assert.match(edge_id, /^edge-/);
    const plain = { temperature: 0, top_p: 0.5, top_k: 20, seed: 5, max_tokens: 8, stop: ["END"] };
    assert.deepEqual(sampling, Sampling.parse(plain));

    const want = [images[1]!.tiles[3]!, images[0]!.tiles[0]!, images[1]!.tiles[0]!];
    await job.take(want);
    assert.deepEqual(job.tiles.map(({ hash }) => hash), want);
    job.tokens(0, [1], "ok");
    job.done(1);
    await job.ack();
    const body = await (await asked).json();
    assert.equal(body.object, "chat.completion");
    assert.deepEqual(body.choices[0].message, { role: "assistant", content: "ok", refusal: null });
    assert.equal(body.tessera.images.length, 3);
  });
});

Deno.test("keep-alive comments while nothing comes", async () => {
  await withEdge({ waits: { keepAliveMs: 50 } }, async ({ ask, worker }) => {
    const asked = ask({ stream: true });
    const job = await worker.pull();
    await job.take();
    job.tokens(0, [1], "a");
    const response = await asked;
    setTimeout(() => {
      job.done(1);
      void job.ack();
    }, 300);
    const text = await response.text();
    assert.ok(text.split(": keep-alive\n\n").length > 3, text);
    assert.ok(text.endsWith("data: [DONE]\n\n"));
  });
});

Deno.test("npm openai: streaming, not streaming, many at once, models", async () => {
  await withEdge({}, async ({ edge, worker }) => {
    worker.serve(["Ein ", "roter ", "", "Kreis."]);
    const client = new OpenAI({ baseURL: `${edge.url}/v1`, apiKey: "none", maxRetries: 0 });
    const messages = [about([fakePicture(2, 2)])];

    const whole = await client.chat.completions.create({ model: FAKE_MODEL, messages });
    assert.equal(whole.choices[0]?.message.content, "Ein roter Kreis.");
    assert.equal(whole.usage?.prompt_tokens, 30);

    await Promise.all(Array.from({ length: 20 }, async () => {
      const stream = await client.chat.completions.create({
        model: FAKE_MODEL,
        messages,
        stream: true,
        stream_options: { include_usage: true },
      });
      let text = "";
      let usage: OpenAI.CompletionUsage | null | undefined;
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? "";
        usage = chunk.usage ?? usage;
      }
      assert.equal(text, "Ein roter Kreis.");
      assert.equal(usage?.completion_tokens, 4);
    }));
    const runner = client.chat.completions.stream({ model: FAKE_MODEL, messages });
    assert.equal(await runner.finalContent(), "Ein roter Kreis.");

    const models = await client.models.list();
    assert.deepEqual(models.data.map(({ id }) => id), [FAKE_MODEL]);
    assert.equal((await client.models.retrieve(FAKE_MODEL)).owned_by, "tessera");
  });
});

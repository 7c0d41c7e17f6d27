/** Sampling, several answers, log-probabilities and prefix reuse over the whole path, as OpenAI's client asks for them. */
import OpenAI from "openai";
import assert from "node:assert/strict";
import { about, demoPictures, post, withStack } from "./shared_stack.ts";

const QUESTION = "Describe the picture.";

Deno.test("sampling over the whole path", async (t) => {
  const [picture, other] = await demoPictures();
  assert.ok(picture !== undefined && other !== undefined);
  await withStack({}, async (stack) => {
    const client = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: "none", maxRetries: 0 });
    const base = { model: "internvl3-tiny", messages: [about(picture.url, QUESTION)] };
    const ask = async (fields: object) => (await post(stack.url, { ...base, ...fields })).json;

    await t.step(
      "a second question about a picture sends no tile, encodes nothing, prefills only what is new",
      async () => {
        const messages = [about(other.url, QUESTION)];
        const first = await ask({ messages });
        assert.ok(first.tessera.timings.vision_ms > 0);
        const details = first.usage.prompt_tokens_details;
        assert.ok(details.image_tokens > 0);
        const second = await ask({
          messages: [...messages, { role: "assistant", content: first.choices[0].message.content }, {
            role: "user",
            content: "What else?",
          }],
        });
        assert.equal(second.tessera.timings.vision_ms, 0);
        assert.equal(second.tessera.timings.tiles_ms, 0);
        const { prompt_tokens, prompt_tokens_details } = second.usage;
        assert.equal(prompt_tokens_details.image_tokens, details.image_tokens);
        // All but the last, partly filled block of the first conversation and what came after it.
        const numBefore = first.usage.prompt_tokens + first.usage.completion_tokens;
        assert.ok(prompt_tokens_details.cached_tokens > numBefore - 40, JSON.stringify(second.usage));
        assert.ok(prompt_tokens_details.cached_tokens >= details.image_tokens && prompt_tokens > numBefore);
      },
    );

    await t.step("prefixes are not shared across keys or salts", async () => {
      const messages = [about(other.url, "Describe the picture in one line, please.")];
      const cached = async (fields: object, key?: string) => {
        const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
        const { json } = await post(stack.url, { ...base, messages, ...fields }, headers);
        return json.usage.prompt_tokens_details.cached_tokens as number;
      };
      await cached({});
      assert.ok(await cached({}) > 0);
      assert.equal(await cached({ cache_salt: "pepper" }), 0);
      assert.ok(await cached({ cache_salt: "pepper" }) > 0);
      assert.equal(await cached({}, "key-1"), 0);
      assert.ok(await cached({}, "key-1") > 0);
      assert.equal(await cached({}, "key-2"), 0);
    });

    await t.step("several answers stream side by side, the same as asked for whole", async () => {
      // The model is sure of what it sees, so it is asked about nothing.
      const messages = [{ role: "user" as const, content: "Hm?" }];
      const fields = { messages, n: 3, temperature: 2, seed: 11, max_tokens: 24, logprobs: true, top_logprobs: 2 };
      const whole = await client.chat.completions.create({ ...base, ...fields });
      assert.equal(whole.choices.length, 3);
      const texts = whole.choices.map(({ message }) => message.content!);
      assert.ok(new Set(texts).size > 1, texts.join(" | "));
      const stream = await client.chat.completions.create({
        ...base,
        ...fields,
        stream: true,
        stream_options: { include_usage: true },
      });
      const pieces = ["", "", ""];
      const reasons: (string | null)[] = [null, null, null];
      const tokens: string[][] = [[], [], []];
      const order: number[] = [];
      let usage: OpenAI.CompletionUsage | null = null;
      for await (const chunk of stream) {
        usage = chunk.usage ?? usage;
        const [choice] = chunk.choices;
        if (choice === undefined) continue;
        order.push(choice.index);
        pieces[choice.index] += choice.delta.content ?? "";
        tokens[choice.index]!.push(...(choice.logprobs?.content ?? []).map(({ token }) => token));
        reasons[choice.index] = choice.finish_reason ?? reasons[choice.index]!;
      }
      assert.deepEqual(pieces, texts);
      assert.deepEqual(reasons, whole.choices.map(({ finish_reason }) => finish_reason));
      assert.deepEqual(tokens, whole.choices.map(({ logprobs }) => logprobs!.content!.map(({ token }) => token)));
      assert.notDeepEqual(order, order.toSorted());
      assert.equal(usage?.completion_tokens, whole.usage?.completion_tokens);
      assert.equal(usage?.prompt_tokens, whole.usage?.prompt_tokens);
      // The first answer is the one that is had alone.
      const alone = await client.chat.completions.create({ ...base, ...fields, n: 1 });
      assert.equal(alone.choices[0]!.message.content, texts[0]);
    });

    await t.step("log-probabilities: of each token, its bytes, the likeliest beside it", async () => {
      const { choices, usage } = await ask({ logprobs: true, top_logprobs: 3 });
      const { content } = choices[0].logprobs;
      assert.equal(content.length, usage.completion_tokens);
      assert.equal(content.map(({ token }: { token: string }) => token).join(""), choices[0].message.content);
      for (const { bytes, logprob, token, top_logprobs } of content) {
        assert.equal(new TextDecoder().decode(Uint8Array.from(bytes)), token);
        assert.ok(logprob <= 0 && top_logprobs.length === 3);
        // Greedy: the likeliest is the one.
        assert.equal(top_logprobs[0].token, token);
        assert.equal(top_logprobs[0].logprob, logprob);
        assert.ok(top_logprobs[1].logprob <= logprob);
      }
      assert.equal((await ask({})).choices[0].logprobs, null);
    });

    await t.step("penalties, biases, min_p, ends", async () => {
      const greedy = (await ask({})).choices[0].message.content as string;
      const said = async (fields: object) => (await ask(fields)).choices[0].message.content as string;
      assert.equal(greedy, picture.caption);
      assert.equal(await said({ temperature: 2, min_p: 1, seed: 3 }), greedy);
      assert.notEqual(await said({ repetition_penalty: 50 }), greedy);
      const long = await ask({ min_tokens: 60, max_tokens: 64 });
      assert.ok(long.usage.completion_tokens >= 60);
      const endless = await ask({ ignore_eos: true, max_tokens: 64 });
      assert.equal(endless.usage.completion_tokens, 64);
      assert.equal(endless.choices[0].finish_reason, "length");
      const text = endless.choices[0].message.content as string;
      assert.ok(text.startsWith(greedy));
      // Two for each time a token was there already: in the end no token goes on for ever.
      assert.notEqual(await said({ ignore_eos: true, max_tokens: 64, frequency_penalty: 2 }), text);
    });

    await t.step("what the model has no token for, and contradictions, are the caller's errors", async () => {
      const refused = async (fields: object, param: string) => {
        const { error } = await ask(fields);
        assert.deepEqual([error?.code, error?.param], ["invalid_request", param], JSON.stringify(fields));
      };
      await refused({ logit_bias: { "99999999": 1 } }, "logit_bias");
      await refused({ stop_token_ids: [99_999_999] }, "stop_token_ids");
      await refused({ min_tokens: 5, max_tokens: 4 }, "min_tokens");
      await refused({ top_logprobs: 2 }, "top_logprobs");
      await refused({ n: 33 }, "n");
      await refused({ logit_bias: { "the": 1 } }, "logit_bias.the");
    });

    await t.step("a request's own time limit holds", async () => {
      assert.equal((await ask({ deadline_ms: 1 })).error.code, "deadline_exceeded");
    });
  });
});

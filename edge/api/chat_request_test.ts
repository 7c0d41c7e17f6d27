/** OpenAI's request body becomes a job's parts, or an error that names the field. */
import { Sampling, TesseraError } from "@tessera/shared";
import fc from "fast-check";
import assert from "node:assert/strict";
import { parseChatRequest } from "./chat_request.ts";
import { jobSampling } from "./sampling.ts";

const minimal = { model: "m", messages: [{ role: "user", content: "x" }] };

Deno.test("seeds of 64 bits become ones that a number holds exactly", () => {
  const seeds = [2 ** 53 - 1, 2 ** 53, 2 ** 63, -(2 ** 63), 2 ** 62].map((seed) => jobSampling({ seed }).seed);
  assert.ok(seeds.every((seed) => Number.isSafeInteger(seed) && seed >= 0), seeds.join());
  assert.equal(jobSampling({ seed: -7 }).seed, 7);
  assert.equal(jobSampling({ seed: 3 * 2 ** 61 }).seed, 3 * 2 ** 50);
});

Deno.test("request: greedy without a temperature, everything filled in", () => {
  const { sampling, ...request } = parseChatRequest(minimal);
  const { seed, ...rest } = sampling;
  assert.ok(Number.isSafeInteger(seed) && seed >= 0);
  const plain = { temperature: 0, top_p: 1, top_k: 0, seed, max_tokens: null, stop: [] };
  assert.deepEqual({ ...rest, seed }, Sampling.parse(plain));
  assert.deepEqual(request, {
    model: "m",
    messages: [{ role: "user", parts: [{ type: "text", text: "x" }] }],
    media: [],
    tiling: { minTiles: null, maxTiles: null, thumbnail: null, exact: false },
    turn: { priority: 0, deadlineMs: null, cacheSalt: "" },
    isStream: false,
    includeUsage: false,
  });
});

Deno.test("request: null means absent, and neutral values of unsupported fields pass", () => {
  const names = [
    "temperature",
    "top_p",
    "seed",
    "max_tokens",
    "stop",
    "stream",
    "stream_options",
    "tools",
    "n",
    "logit_bias",
  ];
  assert.ok(parseChatRequest({ ...minimal, ...Object.fromEntries(names.map((name) => [name, null])) }));
  assert.ok(parseChatRequest({
    ...minimal,
    n: 1,
    logprobs: false,
    logit_bias: {},
    tools: [],
    tool_choice: "auto",
    response_format: { type: "text" },
    frequency_penalty: 0,
    modalities: ["text"],
    store: true,
    service_tier: "auto",
    parallel_tool_calls: true,
  }));
  assert.ok(parseChatRequest({ ...minimal, messages: [{ role: "assistant", content: null }, ...minimal.messages] }));
  assert.equal(parseChatRequest({ ...minimal, top_p: 0, top_k: -1 }).sampling.top_p > 0, true);
});

Deno.test("request: half a surrogate pair becomes something that has UTF-8", () => {
  const { messages, sampling } = parseChatRequest({
    ...minimal,
    messages: [{ role: "user", content: "a\ud800b" }],
    stop: "\udc00",
  });
  assert.deepEqual(messages[0]?.parts, [{ type: "text", text: "a\ufffdb" }]);
  assert.deepEqual(sampling.stop, ["\ufffd"]);
});

Deno.test("request: any JSON is either understood or refused with an error for the caller", () => {
  const fields = fc.record({
    model: fc.oneof(fc.constant("m"), fc.jsonValue()),
    messages: fc.oneof(
      fc.array(fc.record({
        role: fc.oneof(fc.constantFrom("user", "system", "assistant"), fc.jsonValue()),
        content: fc.oneof(
          fc.string(),
          fc.array(fc.record({ type: fc.constantFrom("text", "image_url", "video_url"), text: fc.jsonValue() })),
          fc.jsonValue(),
        ),
      }, { requiredKeys: [] })),
      fc.jsonValue(),
    ),
    temperature: fc.jsonValue(),
    stop: fc.jsonValue(),
    tools: fc.jsonValue(),
    response_format: fc.jsonValue(),
    mm_processor_kwargs: fc.jsonValue(),
  }, { requiredKeys: [] });
  fc.assert(
    fc.property(fc.oneof(fields, fc.jsonValue()), (body) => {
      try {
        parseChatRequest(body);
      } catch (error) {
        assert.ok(error instanceof TesseraError, String(error));
        assert.ok(["invalid_request", "unsupported_parameter"].includes(error.code), error.code);
      }
    }),
    { numRuns: 500 },
  );
});

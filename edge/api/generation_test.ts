/** The vendor's generation_config beside OpenAI's fields: who wins, what defaults apply, what is refused. */
import { GREEDY, type Sampling } from "@tessera/shared";
import assert from "node:assert/strict";
import { parseChatRequest } from "./chat_request.ts";

const SAMPLED = { ...GREEDY, do_sample: true, temperature: 0.7, top_p: 0.8, top_k: 20, max_new_tokens: 99 };

function sampled(fields: Record<string, unknown>, defaults = GREEDY): Sampling {
  const messages = [{ role: "user", content: "x" }];
  return parseChatRequest({ model: "m", messages, ...fields }, () => defaults).sampling;
}

/** Temperature, top_p, top_k. */
const drawn = (fields: Record<string, unknown>, defaults = GREEDY) => {
  const { temperature, top_p, top_k } = sampled(fields, defaults);
  return [temperature, top_p, top_k];
};

Deno.test("generation: greedy unless somebody asks for variety", () => {
  assert.deepEqual(drawn({}), [0, 1, 0]);
  assert.deepEqual(drawn({ do_sample: false, temperature: 0.7 }), [0, 1, 0]);
  assert.deepEqual(drawn({ temperature: 0.5 }), [0.5, 1, 0]);
  assert.deepEqual(drawn({ do_sample: null, temperature: null }), [0, 1, 0]);
});

Deno.test("generation: do_sample means what it means to transformers", () => {
  assert.deepEqual(drawn({ do_sample: true }), [1, 1, 50]);
  assert.deepEqual(drawn({ do_sample: true, temperature: 0.3, top_p: 0.9, top_k: 5 }), [0.3, 0.9, 5]);
  assert.deepEqual(drawn({ do_sample: true }, SAMPLED), [0.7, 0.8, 20]);
  assert.throws(() => drawn({ do_sample: true, temperature: 0 }), { code: "invalid_request", param: "temperature" });
});

Deno.test("generation: a checkpoint's own defaults hold where the request says nothing", () => {
  assert.deepEqual(drawn({}, SAMPLED), [0.7, 0.8, 20]);
  assert.deepEqual(drawn({ do_sample: false }, SAMPLED)[0], 0);
  assert.deepEqual(drawn({ temperature: 0 }, SAMPLED)[0], 0);
  assert.deepEqual(drawn({ temperature: 1.2, top_k: 0 }, SAMPLED), [1.2, 0.8, 0]);
});

Deno.test("generation: max_new_tokens is the last of the three names and before the checkpoint's", () => {
  const longest = (fields: Record<string, unknown>, defaults = GREEDY) => sampled(fields, defaults).max_tokens;
  assert.equal(longest({}), null);
  assert.equal(longest({ max_new_tokens: 7 }), 7);
  assert.equal(longest({ max_new_tokens: 7, max_tokens: 6 }), 6);
  assert.equal(longest({ max_new_tokens: 7, max_tokens: 6, max_completion_tokens: 5 }), 5);
  assert.equal(longest({}, SAMPLED), 99);
  assert.equal(longest({ max_tokens: 6 }, SAMPLED), 6);
  assert.throws(() => longest({ max_new_tokens: 0 }), { code: "invalid_request", param: "max_new_tokens" });
});

Deno.test("generation: one beam is no search, more are refused", () => {
  assert.equal(sampled({ num_beams: 1 }).temperature, 0);
  assert.throws(() => sampled({ num_beams: 2 }), { code: "unsupported_parameter", param: "num_beams" });
  assert.throws(() => sampled({ num_beams: 0 }), { code: "invalid_request", param: "num_beams" });
});

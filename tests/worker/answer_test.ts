/** From ids to text: no character is split, no stop string gets out, and a replay leaves the same state. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Answer } from "../../gpu-worker/publish/answer.ts";
import { Detokenizer } from "../../gpu-worker/publish/detokenizer.ts";
import { StopMatcher } from "../../gpu-worker/publish/stop_matcher.ts";
import { ADDED, bytesOf, handmadeTokenizer, MERGED } from "./handmade_tokenizer.ts";

const tokenizer = handmadeTokenizer();
const decode = (bytes: Uint8Array) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
const ids = fc.array(
  fc.oneof(
    fc.string({ unit: "grapheme" }).map((text) => tokenizer.encodeText(text)),
    fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 4 }),
    fc.constantFrom([ADDED["<img>"]], [MERGED.hello], [700], [908]),
    fc.constantFrom("👩‍👩‍👧", "你好", "\ufeff", "é").map(bytesOf),
  ),
).map((parts) => parts.flat());

Deno.test("detokenizer: the pieces are the whole, and whole characters", () => {
  fc.assert(
    fc.property(ids, (sequence) => {
      const detokenizer = new Detokenizer(tokenizer);
      const pieces = [...sequence.map((id) => detokenizer.push(id)), detokenizer.end()];
      const bytes = Uint8Array.from(sequence.flatMap((id) => [...tokenizer.bytesOf(id)]));
      assert.equal(pieces.join(""), decode(bytes));
      for (const piece of pieces) assert.ok(piece.isWellFormed());
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("detokenizer: bytes of a character wait for the last; one left open becomes U+FFFD", () => {
  const detokenizer = new Detokenizer(tokenizer);
  const [a, b, c, d] = bytesOf("🦉") as [number, number, number, number];
  assert.deepEqual([a, b, c, d, a, b].map((id) => detokenizer.push(id)), ["", "", "", "🦉", "", ""]);
  assert.equal(detokenizer.end(), "\ufffd");
});

Deno.test("detokenizer: special tokens and unknown ids are silent, other added tokens are text", () => {
  const detokenizer = new Detokenizer(tokenizer);
  assert.deepEqual([ADDED["<|im_end|>"], ADDED["<ref>"], 1_000_000, 908].map((id) => detokenizer.push(id)), [
    "",
    "",
    "",
    "<tool>",
  ]);
});

/** The outcome on the whole text, by definition: the match that ends first, of those the longest. */
function cut(text: string, stops: readonly string[]): string {
  for (let end = 0; end <= text.length; end++) {
    const done = stops.filter((stop) => stop !== "" && text.slice(0, end).endsWith(stop));
    if (done.length > 0) return text.slice(0, end - Math.max(...done.map((stop) => stop.length)));
  }
  return text;
}

Deno.test("stop strings: however the text is cut, what gets out is the same", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 12 });
  fc.assert(
    fc.property(fc.array(letters), fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 4 })), (
      pieces,
      stops,
    ) => {
      const matcher = new StopMatcher(stops);
      let out = "";
      let isStopped = false;
      for (const piece of pieces) {
        if (isStopped) break;
        const step = matcher.push(piece);
        out += step.text;
        isStopped = step.isStopped;
        // Nothing that may still become a stop string is out.
        assert.ok(cut(pieces.join(""), stops).startsWith(out));
      }
      if (!isStopped) out += matcher.end();
      assert.equal(out, cut(pieces.join(""), stops));
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("stop strings: text is held only as long as it may be the beginning of one", () => {
  const matcher = new StopMatcher(["\n\nQ:"]);
  assert.deepEqual(matcher.push("one\n"), { text: "one", isStopped: false });
  assert.deepEqual(matcher.push("\nA"), { text: "\n\nA", isStopped: false });
  assert.deepEqual(matcher.push("\n\nQ"), { text: "", isStopped: false });
  assert.deepEqual(matcher.push(": x"), { text: "", isStopped: true });
});

const newAnswer = (options: { stop?: string[]; maxTokens?: number } = {}) =>
  new Answer({
    tokens: tokenizer,
    endIds: new Set([ADDED["<|im_end|>"]]),
    stop: options.stop ?? [],
    maxTokens: options.maxTokens ?? 1_000,
  });

Deno.test("answer: an end token ends it and is no part of it", () => {
  const answer = newAnswer({ stop: ["lx"] });
  assert.deepEqual(answer.push(MERGED.hello), { isPart: true, text: "hello", finish: null });
  assert.deepEqual(answer.push(108), { isPart: true, text: "", finish: null });
  assert.deepEqual(answer.push(ADDED["<|im_end|>"]), { isPart: false, text: "", finish: "stop" });
  assert.equal(answer.end(), "l");
  assert.equal(answer.numIds, 2);
});

Deno.test("answer: max_tokens ends it with what was held back", () => {
  const answer = newAnswer({ stop: ["ab"], maxTokens: 2 });
  answer.push(97);
  assert.deepEqual(answer.push(97), { isPart: true, text: "a", finish: "length" });
  assert.equal(answer.end(), "a");
});

Deno.test("answer: nothing follows a stop string, not even half a character", () => {
  const answer = newAnswer({ stop: ["hell"] });
  assert.deepEqual(answer.push(MERGED.hello), { isPart: true, text: "", finish: "stop" });
  assert.equal(answer.end(), "");
});

Deno.test("answer: after a replay it goes on as if never interrupted", () => {
  fc.assert(
    fc.property(ids, fc.nat(), fc.array(fc.constantFrom("he", "llo", "你", "ab", "é"), { maxLength: 2 }), (
      sequence,
      at,
      stop,
    ) => {
      const whole = newAnswer({ stop, maxTokens: 40 });
      const steps = [];
      for (const id of sequence) {
        if (whole.finish !== null) break;
        steps.push(whole.push(id));
      }
      const split = at % (steps.length + 1);
      const resumed = newAnswer({ stop, maxTokens: 40 });
      resumed.replay(sequence.slice(0, split));
      assert.equal(resumed.numIds, split);
      assert.deepEqual(sequence.slice(split, steps.length).map((id) => resumed.push(id)), steps.slice(split));
      assert.equal(resumed.end(), whole.end());
      assert.equal(resumed.finish, whole.finish);
    }),
    { numRuns: 500 },
  );
});

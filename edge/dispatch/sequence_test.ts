/** Which token events are new, repeats or gaps, for any order of arrival. */
import { type JobEvent, MAX_DELIVER } from "@tessera/shared";
import fc from "fast-check";
import assert from "node:assert/strict";
import { TokenSequence } from "./sequence.ts";

const tokens = (attempt: number, seq: number, ids: number[], text: string): JobEvent => ({
  v: 1,
  type: "tokens",
  attempt,
  seq,
  ids,
  text,
});
const done = (attempt: number, seq: number, text = ""): JobEvent => ({
  v: 1,
  type: "done",
  attempt,
  seq,
  text,
  finish_reason: "stop",
  usage: { prompt_tokens: 1, completion_tokens: seq, image_tokens: 0, cached_tokens: 0 },
  timings: { tiles_ms: 0, wait_ms: 0, vision_ms: 0, prefill_ms: 0, decode_ms: 0 },
});

Deno.test("sequence: nothing counts before a claim, and older attempts cannot come back", () => {
  const sequence = new TokenSequence();
  assert.equal(sequence.accept(tokens(1, 0, [1], "a")).kind, "drop");
  assert.ok(sequence.grant(2));
  assert.ok(!sequence.grant(1));
  assert.ok(sequence.grant(2));
  assert.equal(sequence.accept(tokens(1, 0, [1], "a")).kind, "drop");
  assert.deepEqual(sequence.accept(tokens(2, 0, [1], "a")), {
    kind: "text",
    choice: 0,
    text: "a",
    logprobs: undefined,
  });
  assert.equal(sequence.accept(tokens(3, 1, [2], "b")).kind, "gap");
});

Deno.test("sequence: repeats are dropped, gaps and halves are found", () => {
  const sequence = new TokenSequence();
  sequence.grant(1);
  sequence.accept(tokens(1, 0, [1, 2], "ab"));
  assert.equal(sequence.accept(tokens(1, 0, [1, 2], "ab")).kind, "drop");
  assert.equal(sequence.accept(tokens(1, 1, [2], "b")).kind, "drop");
  assert.equal(sequence.accept(tokens(1, 1, [], "?")).kind, "drop");
  assert.deepEqual(sequence.accept(tokens(1, 2, [], "held back")), {
    kind: "text",
    choice: 0,
    text: "held back",
    logprobs: undefined,
  });
  assert.equal(sequence.accept(tokens(1, 1, [2, 3], "bc")).kind, "gap");
  assert.equal(sequence.accept(tokens(1, 3, [4], "d")).kind, "gap");
  assert.equal(sequence.accept(done(1, 3)).kind, "gap");
  assert.equal(sequence.accept(done(1, 1)).kind, "gap");
  assert.equal(sequence.accept(done(1, 2)).kind, "done");
  assert.deepEqual(sequence.resumeIds(), [1, 2]);
});

/** One step of a run: the next event of the attempt, a repeat of an earlier one, something stale, or a new attempt. */
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("next" as const), size: fc.integer({ min: 0, max: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("repeat" as const), which: fc.nat(50) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("stale" as const),
      which: fc.nat(50),
      by: fc.integer({ min: 1, max: 2 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("progress" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("redeliver" as const) }) },
);

Deno.test("sequence: whatever is repeated, stale or redelivered, the client gets each token once, in order", () => {
  const letter = (id: number) => String.fromCharCode(97 + id % 26);
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const sequence = new TokenSequence();
    let attempt = 1;
    sequence.grant(attempt);
    /** What the worker of this attempt has sent in all, its predecessors' included. */
    let sent = 0;
    const history: JobEvent[] = [];
    let text = "";
    const hear = (event: JobEvent) => {
      const verdict = sequence.accept(event);
      if (verdict.kind === "text") text += verdict.text;
      return verdict.kind;
    };
    for (const one of steps) {
      if (one.kind === "next") {
        const ids = Array.from({ length: one.size }, (_, i) => sent + i);
        const event = tokens(attempt, sent, ids, ids.map(letter).join(""));
        sent += one.size;
        if (ids.length > 0) history.push(event);
        assert.equal(hear(event), "text");
      } else if (one.kind === "repeat" && history.length > 0) {
        const event = history[one.which % history.length]!;
        assert.equal(hear(event), "drop");
        assert.equal(hear({ ...event, attempt }), "drop");
      } else if (one.kind === "stale" && attempt > one.by) {
        assert.equal(hear(tokens(attempt - one.by, one.which, [999], "!")), "drop");
        assert.equal(hear(done(attempt - one.by, one.which)), "drop");
      } else if (one.kind === "progress") {
        assert.equal(hear({ v: 1, type: "progress", attempt }), "alive");
      } else if (one.kind === "redeliver" && attempt < MAX_DELIVER) {
        attempt++;
        assert.ok(sequence.grant(attempt));
        assert.deepEqual(sequence.resumeIds(), Array.from({ length: sent }, (_, i) => i));
      }
    }
    assert.equal(sequence.accept(done(attempt, sent)).kind, "done");
    assert.equal(text, Array.from({ length: sent }, (_, id) => letter(id)).join(""));
  }));
});

Deno.test("sequence: any event that is lost is noticed at the next one", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 20 }), fc.nat(), (sizes, pick) => {
      const lost = pick % sizes.length;
      const sequence = new TokenSequence();
      sequence.grant(1);
      let seq = 0;
      for (const [i, size] of sizes.entries()) {
        const event = tokens(1, seq, new Array<number>(size).fill(7), "x");
        seq += size;
        if (i === lost) continue;
        const { kind } = sequence.accept(event);
        assert.equal(kind, i < lost ? "text" : "gap");
        if (kind === "gap") return;
      }
      assert.equal(sequence.accept(done(1, seq)).kind, "gap");
    }),
  );
});

/** The arithmetic of expected speeds: counts of known models, limits by hand, and what must grow with what. */
import assert from "node:assert/strict";
import { findInternVL3, INTERNVL3_MODELS } from "@tessera/shared";
import {
  ASSUMED,
  type Card,
  CARDS,
  expectSpeed,
  expectTogether,
  findCard,
  kvTokenBytes,
  weightBytes,
  weightCounts,
  whyNotTogether,
} from "@tessera/native";
import { numParameters } from "../infra/plan/memory.ts";

const shape = findInternVL3("InternVL3-8B")!;
const h100 = findCard("h100")!;
const load = { batch: 1, promptTokens: 1_000, answerTokens: 100, tiles: 3 };

Deno.test("weights are counted as the plan of memory counts them, norms and biases aside", () => {
  for (const each of INTERNVL3_MODELS) {
    const counts = Object.values(weightCounts(each)).reduce((sum, count) => sum + count, 0);
    const share = counts / numParameters(each);
    assert.ok(share > 0.99 && share <= 1, `${each.name}: ${share}`);
  }
  assert.equal(kvTokenBytes(shape), 2 * 2 * 28 * 4 * 128);
  const tower = findInternVL3("InternVL3-78B")!;
  assert.ok(weightBytes(tower, "4bit") > weightCounts(tower).tower + weightCounts(tower).decoder / 2);
});

Deno.test("one sequence decodes at the pace of reading weights, many at that of multiplying", () => {
  const ideal = { ...ASSUMED, launchSeconds: 0 };
  const alone = expectSpeed(shape, h100, "bf16", { ...load, promptTokens: 1, answerTokens: 1 }, ideal);
  const { decoder, head } = weightCounts(shape);
  const reading = 2 * (decoder + head) / (h100.bandwidth * ideal.weights);
  assert.ok(Math.abs(alone.stepSeconds / reading - 1) < 0.01, `${alone.stepSeconds} ${reading}`);
  const many = expectSpeed(shape, h100, "bf16", { ...load, batch: 4_096, promptTokens: 1, answerTokens: 1 }, ideal);
  const multiplying = 2 * 4_096 * (decoder + head) / (h100.bf16 * ideal.gemm);
  assert.ok(many.stepSeconds / multiplying > 1 && many.stepSeconds / multiplying < 1.1);
});

Deno.test("a tile's time is its flops': twice the weights for each of 1025 rows, and attention", () => {
  const card: Card = { ...h100, bandwidth: 1e18 };
  const { tower, projector, patches } = weightCounts(shape);
  const flops = 2 * 1_025 * tower + 2 * 1_024 * patches + 2 * 256 * projector;
  const attention = 4 * 1_025 ** 2 * 1_024 * 24;
  const seconds = flops / (card.bf16 * ASSUMED.gemm) + attention / (card.bf16 * ASSUMED.attention);
  const { tileSeconds } = expectSpeed(shape, card, "bf16", load, { ...ASSUMED, launchSeconds: 0 });
  assert.ok(Math.abs(tileSeconds / seconds - 1) < 1e-9);
});

Deno.test("more is never faster, and a larger memory holds more", () => {
  for (const each of INTERNVL3_MODELS) {
    for (const card of CARDS) {
      let before = expectSpeed(each, card, "bf16", load, ASSUMED);
      for (const batch of [2, 8, 64, 256]) {
        const next = expectSpeed(each, card, "bf16", { ...load, batch }, ASSUMED);
        assert.ok(next.stepSeconds > before.stepSeconds && next.imagesPerSecond >= before.imagesPerSecond);
        assert.ok(next.decodeTokensPerSecond > before.decodeTokensPerSecond);
        before = next;
      }
      const bf16 = expectSpeed(each, card, "bf16", load, ASSUMED);
      const four = expectSpeed(each, card, "4bit", load, ASSUMED);
      assert.ok(four.stepSeconds < bf16.stepSeconds && four.largestBatch >= bf16.largestBatch);
    }
    const on = (name: string) => expectSpeed(each, findCard(name)!, "bf16", load, ASSUMED).largestBatch;
    assert.ok(on("H200") > on("H100") || on("H200") === 0);
  }
  assert.equal(expectSpeed(findInternVL3("InternVL3-78B")!, h100, "bf16", load, ASSUMED).largestBatch, 0);
  assert.ok(expectSpeed(findInternVL3("InternVL3-1B")!, findCard("L4")!, "bf16", load, ASSUMED).largestBatch > 100);
  assert.throws(() => expectSpeed(shape, findCard("A100")!, "fp8", load, ASSUMED), /A100: it has no FP8/);
});

Deno.test("cards that compute each layer together share weights and pay for sums", () => {
  const { decoder, tower } = weightCounts(shape);
  const one = expectTogether(shape, h100, "bf16", load, ASSUMED, 1);
  assert.deepEqual(one, expectSpeed(shape, h100, "bf16", load, ASSUMED));
  const free = { ...ASSUMED, reduceSeconds: 0, launchSeconds: 0 };
  const ideal = { ...h100, link: Infinity };
  const alone = expectTogether(shape, ideal, "bf16", load, free, 1);
  const four = expectTogether(shape, ideal, "bf16", load, free, 4);
  assert.ok(Math.abs(alone.stepSeconds / four.stepSeconds / 4 - 1) < 0.01, "a step's bytes are shared evenly");
  assert.ok(Math.abs(alone.tileSeconds / four.tileSeconds / 4 - 1) < 0.01, "tiles are shared");
  assert.ok(four.weightBytes > 2 * tower + 2 * decoder / 4 && four.weightBytes < 0.4 * alone.weightBytes);
  assert.ok(four.largestBatch > 4 * alone.largestBatch, "of each card less memory is weights");
  // Two sums a layer and one behind the embedding, of fp32 rows, and the logits of the others' words.
  const two = expectTogether(shape, { ...h100, link: 1e9 }, "bf16", { ...load, batch: 64 }, { ...free, link: 1 }, 2);
  const fast = expectTogether(shape, ideal, "bf16", { ...load, batch: 64 }, free, 2);
  const sums = (2 * 28 + 1) * 4 * 64 * 3_584, logits = 4 * 64 * shape.decoder.vocab / 2;
  assert.ok(Math.abs((two.stepSeconds - fast.stepSeconds) * 1e9 / (sums + logits) - 1) < 1e-6);
  assert.equal(whyNotTogether(shape, 4), undefined);
  assert.match(whyNotTogether(shape, 3)!, /28 attention heads/);
  assert.match(whyNotTogether(findInternVL3("InternVL3-1B")!, 4)!, /14 attention heads/);
  assert.throws(() => expectTogether(shape, h100, "bf16", load, ASSUMED, 3), /28 attention heads/);
});

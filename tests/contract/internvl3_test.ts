/** The published models as data: their parameters are those the model cards tell; a checkpoint's own config says the same. */
import assert from "node:assert/strict";
import { findInternVL3, INTERNVL3_MODELS } from "@tessera/shared";
import { planMemory, type PlanRequest, QUANTISATIONS, tokensPerTile } from "../../infra/plan/memory.ts";
import { numParameters, numWeightBytes } from "../../infra/plan/memory.ts";
import { readShape } from "../../infra/plan/read_shape.ts";
import { splitLayers } from "../../gpu-worker/plan/split_layers.ts";
import { ROOT } from "../../infra/tools/paths.ts";

const TINY = `${ROOT}/gpu-worker/models/internvl3-tiny`;
/** Billions, as the model cards tell. */
const PUBLISHED = [0.938, 2.09, 7.94, 9.14, 15.1, 38.4, 78.4];

const request = (name: string, numGpus: number, gpuGib: number, more: Partial<PlanRequest> = {}): PlanRequest => {
  const shape = findInternVL3(name)!;
  const common = { tileSlots: 512, tokenBudget: 512, maxSequences: 16, kvShare: 0.9, context: shape.contextLength };
  return { shape, numGpus, gpuBytes: gpuGib * 2 ** 30, ...common, ...more };
};

Deno.test("plan: parameters of all seven as published", () => {
  for (const [i, shape] of INTERNVL3_MODELS.entries()) {
    const billions = numParameters(shape) / 1e9;
    assert.equal(Number(billions.toPrecision(3)), PUBLISHED[i], shape.name);
    assert.equal(tokensPerTile(shape), 256);
  }
});

Deno.test("plan: a checkpoint's parameters are its file's, and the engine's bytes at each type", async () => {
  const shape = await readShape(TINY);
  const file = await Deno.readFile(`${TINY}/model.safetensors`);
  const headerBytes = new DataView(file.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + headerBytes))) as Record<string, unknown>;
  const sizes = Object.entries(header).filter(([name]) => name !== "__metadata__").map(([, tensor]) =>
    (tensor as { shape: number[] }).shape.reduce((product, size) => product * size, 1)
  );
  assert.equal(numParameters(shape), sizes.reduce((sum, size) => sum + size, 0));
  // As native/README.md tells of the engine; it pads rows and holds norms in fp32.
  for (const [quantisation, megabytes] of [["bf16", 5.4], ["int8", 3.17], ["4bit", 3.53]] as const) {
    const ratio = numWeightBytes(shape, quantisation) / (megabytes * 1e6);
    assert.ok(ratio > 0.93 && ratio < 1.03, `${quantisation}: ${ratio}`);
  }
});

Deno.test("plan: the vendor's split, embeddings, tower and head on the first GPU", () => {
  const four = planMemory(request("InternVL3-78B", 4, 80), "bf16");
  const device = splitLayers(80, 4);
  four.gpus.forEach(({ layers }, gpu) => assert.ok(layers.every((layer) => device[layer] === gpu)));
  assert.deepEqual(four.gpus.flatMap(({ layers }) => layers).sort((a, b) => a - b), [...Array(80).keys()]);
  assert.deepEqual([four.gpus[0]!.layers.at(-1), four.gpus[0]!.layers.length], [79, 13]);
  assert.ok(four.gpus[0]!.tileSlotBytes > 0 && four.gpus.slice(1).every(({ tileSlotBytes }) => tileSlotBytes === 0));
  const weights = four.gpus.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
  assert.equal(weights, 2 * numParameters(request("InternVL3-78B", 1, 80).shape));
  assert.equal(four.fits, true);
});

Deno.test("plan: the KV cache of a token, by hand", () => {
  const { gpus } = planMemory(request("InternVL3-8B", 1, 24), "bf16");
  assert.equal(gpus[0]!.kvTokenBytes, 28 * 2 * 4 * 128 * 2);
});

Deno.test("plan: what does not fit is said; the largest context is what the tightest GPU holds", () => {
  const none = planMemory(request("InternVL3-78B", 1, 80), "bf16");
  assert.deepEqual([none.fits, none.largestContext, none.largestBatch], [false, 0, 0]);
  assert.equal(planMemory(request("InternVL3-78B", 1, 80), "4bit").fits, true);
  const tight = planMemory(request("InternVL3-8B", 1, 20), "bf16");
  const { kvRoomBytes, kvTokenBytes } = tight.gpus[0]!;
  assert.equal(tight.kvTokens, Math.floor(kvRoomBytes / kvTokenBytes));
  assert.equal(tight.largestBatch, Math.floor(tight.kvTokens / 32_768));
});

Deno.test("plan: the 6B tower is never below 8 bits", () => {
  for (const { name, vision } of INTERNVL3_MODELS) {
    for (const quantisation of QUANTISATIONS) {
      const plan = planMemory(request(name, 2, 80), quantisation);
      const isLarge = vision.layers === 45;
      assert.equal(plan.towerQuantisation, isLarge && quantisation === "4bit" ? "int8" : quantisation, name);
    }
  }
});

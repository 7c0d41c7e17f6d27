/** Owns the proof that random configurations of all seven models compute what transformers computes, layer by layer. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describeReport, faults, measureFamily } from "../support/family_parity.ts";
import { nativeTest } from "../support/golden_engine.ts";
import { loadFamilies } from "../support/goldens.ts";
import { randomTensors } from "../support/random_checkpoint.ts";

const families = loadFamilies();

Deno.test("families: at least 40 configurations, of seven models, within and beyond the trained length", () => {
  assert.ok(families.length >= 40);
  const models = new Set(families.map(({ name }) => name.split(".")[0]));
  assert.deepEqual([...models], ["1b", "2b", "8b", "9b", "14b", "38b", "78b"]);
  for (const kind of ["within", "grows beyond", "begins beyond"]) assert.ok(families.some((one) => one.kind === kind));
  for (const { kind, config, prompts: [prompt] } of families) {
    const trained = config.llm_config.max_position_embeddings;
    const numPrompt = prompt!.input_ids.length;
    assert.equal(prompt!.greedy_ids.length, 128);
    assert.equal(numPrompt > trained, kind === "begins beyond");
    assert.equal(numPrompt + 128 > trained, kind !== "within");
  }
});

Deno.test("families: weights are Python's, bit for bit", () => {
  for (const { name, config, seed, weights_sha256 } of families) {
    const digest = createHash("sha256");
    for (const { values } of randomTensors(config, seed)) {
      digest.update(Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16));
    }
    assert.equal(digest.digest("hex"), weights_sha256, name);
  }
});

for (const golden of families) {
  nativeTest(
    `family ${golden.name}: logits, 128 greedy ids and each layer of the tower are transformers'`,
    async () => {
      const report = await measureFamily(golden);
      console.log(describeReport(golden, report));
      assert.deepEqual(faults(report), []);
    },
  );
}

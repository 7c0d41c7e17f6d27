/** Owns the proof that engines come and go: several in one process, closed under work, many times without growth. */
import assert from "node:assert/strict";
import { cycleEngine, isSteady } from "./soak/engine.ts";
import { EngineDriver } from "./support/engine_driver.ts";
import { nativeTest } from "./support/golden_engine.ts";
import { driverPrompt, encodeGoldenTiles, loadGoldens } from "./support/goldens.ts";
import { withNativeEngine } from "./support/native_engine.ts";

const goldens = loadGoldens();

nativeTest("two engines in one process, working at the same time, do not see each other", async () => {
  const runs = ["base", "vision_6b"].map((name) => {
    const golden = goldens.find((one) => one.name === name)!;
    const { config, seed } = golden;
    return withNativeEngine({ config, seed }, { dtype: "fp32" }, async (engine) => {
      const slots = await encodeGoldenTiles(engine, golden);
      const driver = new EngineDriver(engine);
      for (let round = 0; round < 3; round++) {
        for (const prompt of golden.prompts) {
          const ids = await driver.generate(driverPrompt(golden, prompt, slots), prompt.greedy_ids.length, {}, 9);
          assert.deepEqual(ids, prompt.greedy_ids, name);
        }
      }
    });
  });
  await Promise.all(runs);
});

nativeTest("the embedded model opens and closes many times, under running steps too, without growth", async () => {
  const memory = await cycleEngine(120);
  assert.ok(isSteady(memory), JSON.stringify(memory));
});

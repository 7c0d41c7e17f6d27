/** Owns the proof that weights in few bits compute on emulated GPUs what they do on the CPU, whatever a GPU can multiply. */
import assert from "node:assert/strict";
import type { Device, Dtype } from "../../gpu-worker/engine/types.ts";
import { writeAwqCheckpoint } from "../support/awq_checkpoint.ts";
import { EngineDriver, textPrompt } from "../support/engine_driver.ts";
import { cosine, relativeError } from "../support/errors.ts";
import { isOnGpu } from "../support/emulated_gpu.ts";
import { emulatedTest, keptRows, nativeTest, type NativeVariant, onNative } from "../support/golden_engine.ts";
import { type Golden, loadGoldens } from "../support/goldens.ts";
import { withNativeEngine } from "../support/native_engine.ts";
import { describePictures } from "../support/picture_answers.ts";
import { dequantised, wholeBlocks } from "../support/quantise.ts";

/** Of rows from the very same weights: what lies between two operations is bf16 on a GPU and fp32 on the CPU. */
const MIN_COSINE = 0.9993;
/** In int8 activations, rounded from bf16 or from fp32, also fall on neighbouring codes: twice what one side is off. */
const MIN_INT8_COSINE = 0.996;
/** Each activation has four bits on the GPU, the CPU's have eight: 3 % of every factor, in all layers of small models. */
const MIN_FP8_COSINE = 0.97;

/** Pictures the embedded model is asked about: a GPU takes all in no time. */
const NUM_PICTURES = isOnGpu ? Infinity : 1;

const golden = (name: string): Golden => wholeBlocks(loadGoldens().find((one) => one.name === name)!);
const MODELS = ["gqa_7_as_1b", "vision_6b"].map(golden);

async function rowsOf(model: Golden, variant: NativeVariant): Promise<Float32Array[]> {
  const rows: Float32Array[] = [];
  await onNative(model, variant, async ({ driver, prompts }) => {
    for (const [i, prompt] of prompts.entries()) rows.push(...await keptRows(driver, prompt, model.prompts[i]!));
  });
  return rows;
}

function assertNear(rows: readonly Float32Array[], expected: readonly Float32Array[], least: number, of: string): void {
  assert.equal(rows.length, expected.length);
  assert.ok(rows.length > 0);
  const worst = Math.min(...rows.map((row, i) => cosine(row, expected[i]!)));
  assert.ok(worst >= least, `${of}: cosine ${worst}`);
}

/** Runs `use` with emulated GPUs of another compute capability. */
async function withArch(arch: string, use: () => Promise<void>): Promise<void> {
  Deno.env.set("CUEMU_ARCH", arch);
  await use().finally(() => Deno.env.delete("CUEMU_ARCH"));
}

for (const [dtype, least] of [["int8", MIN_INT8_COSINE], ["nf4", MIN_COSINE], ["fp4", MIN_COSINE]] as const) {
  emulatedTest(`${dtype}: logits on an emulated GPU point where the CPU's do`, async () => {
    for (const model of MODELS) {
      for (const headDtype of dtype === "fp4" ? [] : ["int8"] as const) {
        const variant = { dtype, headDtype };
        assertNear(
          await rowsOf(model, { ...variant, device: "cuda" }),
          await rowsOf(model, variant),
          least,
          model.name,
        );
      }
      const expected = await rowsOf(model, { dtype });
      assertNear(await rowsOf(model, { dtype, device: "cuda" }), expected, least, model.name);
    }
  });
}

emulatedTest("what is in few bits on the GPU takes the CPU's memory, and the 6B tower is never below 8", async () => {
  const bytesOn = async (device: Device, dtype: Dtype): Promise<number> => {
    let bytes = 0;
    await onNative(golden("vision_6b"), { dtype, device }, ({ engine }) => {
      bytes = engine.info.weightBytes;
      assert.equal(/6B vision tower is held in int8/.test(engine.info.dtypeNote ?? ""), dtype === "nf4");
      return Promise.resolve();
    });
    return bytes;
  };
  for (const dtype of ["int8", "nf4"] as const) {
    const [cpu, cuda] = [await bytesOn("cpu", dtype), await bytesOn("cuda", dtype)];
    // The CPU keeps sums of rows as well, and fills panels up.
    assert.ok(cuda < 1.1 * cpu && cuda > 0.8 * cpu, `${dtype}: ${cuda} bytes, on the CPU ${cpu}`);
  }
  assert.ok(await bytesOn("cuda", "fp8") < await bytesOn("cuda", "bf16"));
});

emulatedTest("awq: logits of a checkpoint on an emulated GPU point where the CPU's do", async () => {
  const { config, seed } = golden("base");
  const write = (folder: string) => writeAwqCheckpoint(folder, { config, seed, group: 64 });
  const logits = (device: Device) =>
    withNativeEngine(write, { device, dtype: "bf16" }, async (engine) => {
      const driver = new EngineDriver(engine);
      const rows: Float32Array[] = [];
      for (const length of [1, 7, 40]) {
        const sequence = driver.add(textPrompt(Array.from({ length }, (_, i) => (7 * i + 3) % engine.info.vocabSize)));
        rows.push(...(await driver.logits([{ sequence, numTokens: length }]))[0]!);
        driver.free(sequence);
      }
      return rows;
    });
  assertNear(await logits("cuda"), await logits("cpu"), MIN_COSINE, "awq");
});

emulatedTest(
  "fp8: logits point where the CPU's of the same rounded weights do, as each GPU multiplies it",
  async () => {
    for (const model of MODELS) {
      const expected = await rowsOf(model, { dtype: "bf16", change: (tensor) => dequantised(tensor, "fp8") });
      const near = async (least: number, of: string) =>
        assertNear(await rowsOf(model, { dtype: "fp8", device: "cuda" }), expected, least, `${model.name} ${of}`);
      // Ampere multiplies the weights alone, Ada takes a scale a matrix, Hopper one a row.
      if (isOnGpu) await near(MIN_FP8_COSINE, "on this GPU");
      else {
        await withArch("80", () => near(MIN_COSINE, "sm_80"));
        await withArch("89", () => near(MIN_FP8_COSINE, "sm_89"));
        await near(MIN_FP8_COSINE, "sm_90");
      }
    }
  },
);

nativeTest("fp8 is refused on the CPU, by name", async () => {
  const { config, seed } = golden("base");
  await assert.rejects(
    withNativeEngine({ config, seed }, { dtype: "fp8" }, () => Promise.resolve()),
    /dtype is fp8 on device cpu, which has no products of it, expected int8, or device cuda/,
  );
});

emulatedTest("layers in few bits, split over emulated GPUs, compute the ids of one", async () => {
  for (const dtype of ["int8", "fp8"] as const) {
    const idsOn = async (numDevices: number) => {
      let ids: number[] = [];
      await onNative(golden("deep"), { dtype, device: "cuda", numDevices }, async ({ engine, driver, prompts }) => {
        assert.equal(engine.info.numDevices, numDevices);
        ids = await driver.generate(prompts[0]!, 6, { temperature: 1, seed: 5n }, 40);
      });
      return ids;
    };
    assert.deepEqual(await idsOn(2), await idsOn(1), dtype);
  }
}, 2);

/** Tokens up to the first that differs, and how far logits are off there at most. */
function agreement(got: Awaited<ReturnType<typeof describePictures>>, expected: typeof got) {
  let same = 0, error = 0;
  const total = expected.ids.flat().length;
  for (const [i, ids] of expected.ids.entries()) {
    for (let k = 0; k < ids.length; k++) {
      error = Math.max(error, relativeError(got.rows[i]![k]!, expected.rows[i]![k]!));
      if (got.ids[i]![k] !== ids[k]) break;
      same++;
    }
  }
  return { same, total, error };
}

/** Of a row of the embedded model's logits, relative to its largest; and of greedy ids that must be the CPU's. */
const EMBEDDED = [
  { dtype: "int8", cpu: "int8", error: 0.05, share: 0.95 },
  { dtype: "nf4", cpu: "nf4", error: 0.03, share: 1 },
  { dtype: "fp4", cpu: "fp4", error: 0.03, share: 1 },
  { dtype: "fp8", cpu: "bf16", error: 0.15, share: 0.8 },
] as const;

for (const { dtype, cpu, error, share } of EMBEDDED) {
  emulatedTest(`${dtype}: the embedded model says on an emulated GPU what it says on the CPU in ${cpu}`, async () => {
    const expected = await describePictures({ device: "cpu", dtype: cpu }, NUM_PICTURES);
    const found = agreement(await describePictures({ device: "cuda", dtype }, NUM_PICTURES), expected);
    console.log(`${dtype}: ${found.same} of ${found.total} greedy ids as on the CPU, logits within ${found.error}`);
    assert.ok(found.total > 10, "the answers are whole ones");
    assert.ok(found.same >= share * found.total, `${found.same} of ${found.total} ids`);
    assert.ok(found.error <= error, `logits are ${found.error} off`);
  });
}

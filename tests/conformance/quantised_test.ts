/** Owns the proof that quantised weights run as what they stand for, on every instruction set, and say what they are. */
import assert from "node:assert/strict";
import { cosine } from "../support/errors.ts";
import { keptRows, nativeTest, type NativeVariant, onNative } from "../support/golden_engine.ts";
import { type Golden, loadGoldens } from "../support/goldens.ts";
import { dequantised, wholeBlocks } from "../support/quantise.ts";

const ISAS = ["portable", "avx2", "avx512", "avx512_bf16"] as const;
/** Of int8 logits with those of fp32 from the same rounded weights: what rounding activations does to small models. */
const MIN_INT8_COSINE = 0.995;
/** What every bf16 row is held to against transformers. */
const MIN_BF16_COSINE = 0.9995;

const goldens = loadGoldens();
const golden = (name: string): Golden => goldens.find((one) => one.name === name)!;

async function rowsOn(golden: Golden, variant: NativeVariant): Promise<Float32Array[]> {
  const rows: Float32Array[] = [];
  await onNative(golden, variant, async ({ driver, prompts }) => {
    for (const i of [0, prompts.length - 1]) rows.push(...await keptRows(driver, prompts[i]!, golden.prompts[i]!));
  });
  return rows;
}

/** Sum of squared differences, in squares of the largest expected value. */
function squaredError(row: Float32Array, expected: Float32Array): number {
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return row.reduce((sum, value, i) => sum + ((value - expected[i]!) / scale) ** 2, 0);
}

/** Runs `use` with TESSERA_ISA set; where this machine lacks the set, says so. */
async function withIsa(isa: string, use: () => Promise<void>): Promise<void> {
  const before = Deno.env.get("TESSERA_ISA");
  Deno.env.set("TESSERA_ISA", isa);
  try {
    await use();
  } catch (error) {
    if (!(error instanceof Error && error.message.includes("TESSERA_ISA"))) throw error;
    console.log(`not on this machine: ${error.message}`);
  } finally {
    if (before === undefined) Deno.env.delete("TESSERA_ISA");
    else Deno.env.set("TESSERA_ISA", before);
  }
}

for (const isa of ISAS) {
  for (const dtype of ["nf4", "fp4"] as const) {
    nativeTest(
      `${isa}: ${dtype} logits are as near to those of the dequantised values in fp32 as bf16's are`,
      () =>
        withIsa(isa, async () => {
          let ours = 0;
          let bf16 = 0;
          for (
            const model of [wholeBlocks(golden("base")), golden("base"), golden("gqa_7_as_1b"), golden("tied_head")]
          ) {
            const change: NativeVariant["change"] = (tensor) => dequantised(tensor, dtype);
            const exact = await rowsOn(model, { dtype: "fp32", storage: "F32", change });
            const rounded = await rowsOn(model, { dtype: "bf16", change });
            (await rowsOn(model, { dtype })).forEach((row, i) => {
              // The KV cache and attention are bf16 in both.
              const got = cosine(row, exact[i]!);
              assert.ok(got >= MIN_BF16_COSINE, `${model.name} row ${i}: cosine ${got}`);
              ours += squaredError(row, exact[i]!);
              bf16 += squaredError(rounded[i]!, exact[i]!);
            });
          }
          assert.ok(ours <= 1.1 * bf16, `squared error ${ours}, of bf16 ${bf16}`);
        }),
    );
  }
  nativeTest(
    `${isa}: int8 logits point where fp32 logits of the same rounded weights do`,
    () =>
      withIsa(isa, async () => {
        for (const model of [wholeBlocks(golden("base")), golden("gqa_7_as_1b"), golden("vision_6b")]) {
          const rounded: NativeVariant = {
            dtype: "fp32",
            storage: "F32",
            change: (tensor) => dequantised(tensor, "int8"),
          };
          const expected = await rowsOn(model, rounded);
          (await rowsOn(model, { dtype: "int8" })).forEach((row, i) => {
            const got = cosine(row, expected[i]!);
            assert.ok(got >= MIN_INT8_COSINE, `${model.name} row ${i}: cosine ${got}`);
          });
        }
      }),
  );
}

nativeTest("quantised weights take less memory, and the engine says what it holds", async () => {
  const bytes: Record<string, number> = {};
  for (const dtype of ["bf16", "int8", "nf4", "fp4"] as const) {
    await onNative(wholeBlocks(golden("base")), { dtype }, ({ engine }) => {
      assert.equal(engine.info.dtype, dtype);
      assert.equal(engine.info.dtypeNote, undefined);
      bytes[dtype] = engine.info.weightBytes;
      return Promise.resolve();
    });
  }
  assert.ok(bytes["nf4"]! < bytes["int8"]! && bytes["int8"]! < bytes["bf16"]!, JSON.stringify(bytes));
  assert.equal(bytes["fp4"], bytes["nf4"]);
});

nativeTest("the 6B vision tower stays in int8 where 4 bits are asked for, and the engine says why", async () => {
  const six = golden("vision_6b");
  for (const dtype of ["nf4", "fp4"] as const) {
    await onNative(six, { dtype }, ({ engine }) => {
      assert.match(engine.info.dtypeNote ?? "", /6B vision tower is held in int8/);
      return Promise.resolve();
    });
  }
  // Its decoder in 4 bits, spelled out: the tower's matrices stay as they are and become int8 both times.
  const decoderOnly = (tensor: Parameters<typeof dequantised>[0]) =>
    tensor.name.startsWith("language_model") ? dequantised(tensor, "nf4") : tensor;
  const tower = await rowsOn(six, { dtype: "bf16", change: decoderOnly });
  (await rowsOn(six, { dtype: "nf4" })).forEach((row, i) => assert.ok(cosine(row, tower[i]!) >= MIN_INT8_COSINE));
});

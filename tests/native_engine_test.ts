/** Owns the native engine's own tests: its C++ tests, what it refuses to open, bad arguments' types, how it ends. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, stat, truncate, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Dtype, Engine, EngineOptions, StepBatch } from "../gpu-worker/engine/types.ts";
import { buildEngineTests } from "@tessera/native";
import { openNativeEngine } from "../gpu-worker/engine/native.ts";
import { tinyConfig } from "./support/checkpoint_config.ts";
import type { Tensor } from "./support/checkpoint_tensors.ts";
import { isOnGpu } from "./support/emulated_gpu.ts";
import { EngineDriver, textPrompt } from "./support/engine_driver.ts";
import { nativeTest, onNative } from "./support/golden_engine.ts";
import { loadGoldens } from "./support/goldens.ts";
import { openNative, withNativeEngine } from "./support/native_engine.ts";
import { encodeSafetensors, randomTensors, writeRandomCheckpoint } from "./support/random_checkpoint.ts";

const OPTIONS = { device: "cpu", dtype: "fp32", numThreads: 2, kvCacheBytes: 0, numTileSlots: 4 } as const;
const ISAS = ["portable", "avx2", "avx512", "avx512_bf16"] as const;

/** A folder with a checkpoint, removed after `use`. */
async function withCheckpoint(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "tessera-native-"));
  try {
    await writeRandomCheckpoint(folder, { config: tinyConfig(), seed: 3 });
    await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function emptyFolder(folder: string): Promise<void> {
  for (const name of await readdir(folder)) await unlink(join(folder, name));
}

Deno.test("the engine's C++ tests pass", async () => {
  const program = await buildEngineTests({ progress: (line) => console.log(line) });
  const { success, stdout } = await new Deno.Command(program).output();
  const output = new TextDecoder().decode(stdout);
  console.log(output);
  assert.ok(success, output.split("\n").filter((line) => !line.startsWith("ok ")).join("\n"));
});

nativeTest("opening refuses what it cannot do, by name", () =>
  withCheckpoint(async (modelPath) => {
    const refuses = async (options: Partial<Record<keyof EngineOptions, unknown>>, text: RegExp): Promise<void> => {
      await assert.rejects(openNative({ ...OPTIONS, modelPath, ...options } as EngineOptions), text);
    };
    await refuses({ dtype: "fp64" }, /dtype is unknown/);
    // Of the real addon: tests open `cuda` on an emulated GPU.
    const onGpu = { ...OPTIONS, modelPath, device: "cuda", dtype: "bf16" } as const;
    if (!isOnGpu) await assert.rejects(openNativeEngine(onGpu), /device is cuda/);
    await refuses({ device: "tpu" }, /device is unknown/);
    await refuses({ modelPath: 7 }, /modelPath/);
    await refuses({ modelPath: join(modelPath, "nothing") }, /nothing\/config\.json: No such file/);
    await refuses({ numThreads: -1 }, /numThreads/);
    await refuses({ numThreads: 1.5 }, /numThreads/);
    await refuses({ kvCacheBytes: NaN }, /kvCacheBytes/);
    await refuses({ numTileSlots: 0 }, /numTileSlots/);
    await refuses({ numTileSlots: "4" }, /numTileSlots/);
    await assert.rejects(openNative(undefined as unknown as EngineOptions), /options/);
  }));

for (const layout of ["internvl_chat", "transformers_v4", "transformers_v5"] as const) {
  for (const numShards of [1, 3]) {
    nativeTest(
      `opening names what is wrong with a tensor: ${layout}, ${numShards} files`,
      () =>
        withCheckpoint(async (modelPath) => {
          const config = tinyConfig({
            decoder: { model_type: "internlm3", architectures: ["InternLM3ForCausalLM"], qkv_bias: true, bias: true },
          });
          const file = numShards === 1 ? "model\\.safetensors" : "model-0000\\d-of-00003\\.safetensors";
          const faults: readonly [((tensor: Tensor) => Tensor[]), string][] = [
            [
              (tensor) => tensor.name.endsWith("layers.1.mlp.down_proj.bias") ? [] : [tensor],
              "down_proj\\.bias is missing, expected it with shape \\[64\\]",
            ],
            [
              (tensor) => /(norm1|layernorm_before)\.weight$/.test(tensor.name) ? [] : [tensor],
              "(norm1|layernorm_before)\\.weight is missing, expected it with shape \\[48\\]",
            ],
            [
              (tensor) => tensor.name.endsWith("0.mlp.up_proj.weight") ? [{ ...tensor, shape: [64, 96] }] : [tensor],
              `${file}: tensor \\S*0\\.mlp\\.up_proj\\.weight has shape \\[64, 96\\], expected \\[96, 64\\]`,
            ],
            [
              (tensor) =>
                tensor.name.endsWith("embed_tokens.weight") ? [{ ...tensor, shape: [1, ...tensor.shape] }] : [tensor],
              `${file}: tensor \\S*embed_tokens\\.weight has shape \\[1, 211, 64\\], expected \\[211, 64\\]`,
            ],
            [(tensor) =>
              tensor.name.endsWith("0.mlp.up_proj.bias")
                ? [tensor, { ...tensor, name: tensor.name.replace("up_proj", "side_proj") }]
                : [tensor], `${file}: tensor \\S*side_proj\\.bias \\[96\\] has no place in the model`],
          ];
          for (const [spoil, text] of faults) {
            await emptyFolder(modelPath);
            await writeRandomCheckpoint(modelPath, { config, seed: 3, layout, numShards, spoil });
            await assert.rejects(openNative({ ...OPTIONS, modelPath }), { message: new RegExp(text) });
          }
          await emptyFolder(modelPath);
          await writeRandomCheckpoint(modelPath, { config, seed: 3, layout, numShards });
          await (await openNative({ ...OPTIONS, modelPath })).close();
          const last = (await readdir(modelPath)).filter((name) =>
            name.endsWith(".safetensors")
          ).sort().at(-1)!;
          const path = join(modelPath, last);
          await truncate(path, (await stat(path)).size - 2);
          await assert.rejects(openNative({ ...OPTIONS, modelPath }), {
            message: new RegExp(`${last}: tensor \\S+ \\[[\\d, ]+\\] lies at bytes \\d+ to \\d+ of \\d+, .*truncated`),
          });
          await unlink(path);
          await assert.rejects(openNative({ ...OPTIONS, modelPath }), { message: new RegExp(last) });
        }),
    );
  }
}

nativeTest(
  "a head beside a tied embedding counts where it differs, as in transformers",
  () =>
    withCheckpoint(async (modelPath) => {
      const config = tinyConfig({ decoder: { tie_word_embeddings: true } });
      const logits = async (head: "none" | "same" | "other"): Promise<[Float32Array, number]> => {
        const spoil = (tensor: Tensor): Tensor[] => {
          if (head === "none" || tensor.name !== "language_model.model.embed_tokens.weight") return [tensor];
          const values = head === "same" ? tensor.values : tensor.values.map((value) => -value);
          return [tensor, { ...tensor, name: "language_model.lm_head.weight", values }];
        };
        await writeRandomCheckpoint(modelPath, { config, seed: 3, spoil });
        const engine = await openNative({ ...OPTIONS, modelPath });
        const driver = new EngineDriver(engine);
        const rows = await engine.logits(driver.batch([{ sequence: driver.add(textPrompt([4, 5, 6])), numTokens: 3 }]));
        await engine.close();
        return [rows, engine.info.weightBytes];
      };
      const [tied, bytes] = await logits("none");
      assert.deepEqual(await logits("same"), [tied, bytes]);
      const [other, more] = await logits("other");
      assert.deepEqual(other, tied.map((value) => -value));
      assert.ok(more >= bytes + 211 * 64 * 4);
    }),
);

nativeTest("opening names the tensor, shape and file that are wrong", () =>
  withCheckpoint(async (modelPath) => {
    const tensors = randomTensors(tinyConfig(), 3);
    const open = (): Promise<Engine> => openNative({ ...OPTIONS, modelPath });
    const path = join(modelPath, "model.safetensors");
    const name = "language_model.model.layers.1.mlp.down_proj.weight";

    await writeFile(path, encodeSafetensors(tensors.filter((tensor) => tensor.name !== name), "BF16"));
    await assert.rejects(open(), { message: new RegExp(`tensor ${name} is missing.*\\[64, 96\\]`) });
    const turned = tensors.map((t) => t.name === name ? { ...t, shape: t.shape.toReversed() } : t);
    await writeFile(path, encodeSafetensors(turned, "BF16"));
    await assert.rejects(open(), { message: new RegExp(`safetensors: tensor ${name} has shape \\[96, 64\\]`) });
    const whole = encodeSafetensors(tensors, "BF16");
    await writeFile(path, whole.subarray(0, whole.length - 1));
    await assert.rejects(open(), /model\.safetensors: tensor .* lies at bytes .*truncated/);
    await writeFile(path, whole.subarray(0, 100));
    await assert.rejects(open(), /a header of \d+ bytes in a file of 100/);
    await writeFile(path, whole);
    await (await open()).close();
    await writeFile(join(modelPath, "config.json"), "{");
    await assert.rejects(open(), /config\.json/);
  }));

nativeTest(
  "arguments of the wrong kind reject",
  () =>
    withNativeEngine({ config: tinyConfig(), seed: 3 }, { numTileSlots: 4 }, async (engine) => {
      const driver = new EngineDriver(engine);
      const batch = driver.batch([{ sequence: driver.add(textPrompt([1, 2, 3])), numTokens: 3 }]);
      for (const [name, value] of Object.entries(batch)) {
        for (const bad of [undefined, null, "x", {}, [1], new Float64Array(3), new DataView(new ArrayBuffer(8))]) {
          const step = engine.step({ ...batch, [name]: bad } as StepBatch);
          await assert.rejects(step, (error: Error) => error.message.includes(name), `${name} = ${typeof value}`);
        }
      }
      await assert.rejects(engine.step(null as unknown as StepBatch), /batch/);
      const encode = engine.encodeTiles.bind(engine) as (pixels: unknown, slots: unknown) => Promise<void>;
      await assert.rejects(encode(new Uint8ClampedArray(28 * 28 * 3), Int32Array.of(0)), /pixels/);
      await assert.rejects(encode(new Uint8Array(28 * 28 * 3), [0]), /slots/);
      await assert.rejects(encode(undefined, undefined), /pixels/);
      assert.equal((await engine.step(batch)).tokenIds.length, 1);
      assert.throws(() => Reflect.construct(Object.getPrototypeOf(engine).constructor, []), /open\(\)/);
    }),
);

nativeTest(
  "arrays that change or move while a call runs do not change its result",
  () =>
    withNativeEngine({ config: tinyConfig(), seed: 3 }, {}, async (engine) => {
      const prompt = textPrompt(Array.from({ length: 60 }, (_, i) => i * 3 % 200));
      const driver = new EngineDriver(engine);
      const batch = (): StepBatch => driver.batch([{ sequence: driver.add(prompt), numTokens: 60 }]);
      const expected = await engine.step(batch());
      const disturbed = batch();
      const running = engine.step(disturbed);
      disturbed.tokenIds.fill(0);
      structuredClone(disturbed.positions.buffer, { transfer: [disturbed.positions.buffer as ArrayBuffer] });
      assert.deepEqual(await running, expected);
    }),
);

nativeTest("weights that are not numbers make a step reject, not a token", () =>
  withCheckpoint(async (modelPath) => {
    const tensors = randomTensors(tinyConfig(), 3);
    tensors.find(({ name }) => name === "language_model.model.norm.weight")!.values[5] = NaN;
    await writeFile(join(modelPath, "model.safetensors"), encodeSafetensors(tensors, "BF16"));
    const engine = await openNative({ ...OPTIONS, modelPath });
    const driver = new EngineDriver(engine);
    const batch = driver.batch([{ sequence: driver.add(textPrompt([1, 2])), numTokens: 2 }]);
    await assert.rejects(engine.step(batch), /logits of sequence 0 are not finite/);
    await engine.close();
  }));

for (const isa of ISAS) {
  nativeTest(`${isa}: greedy ids in every type are transformers'`, async () => {
    const golden = loadGoldens().find(({ name }) => name === "gqa_7_as_1b")!;
    const before = Deno.env.get("TESSERA_ISA");
    Deno.env.set("TESSERA_ISA", isa);
    try {
      for (const dtype of ["fp32", "fp16", "bf16"] satisfies Dtype[]) {
        await onNative(golden, { dtype }, async ({ engine, driver, prompts }) => {
          assert.equal(engine.info.isa, isa);
          for (const [i, { greedy_ids }] of golden.prompts.entries()) {
            const ids = await driver.generate(prompts[i]!, greedy_ids.length);
            // bf16 activations may turn a close choice; the first ones are clear.
            const count = dtype === "bf16" ? 4 : greedy_ids.length;
            assert.deepEqual(ids.slice(0, count), greedy_ids.slice(0, count), `${dtype} prompt ${i}`);
          }
        });
      }
    } catch (error) {
      if (!(error instanceof Error && error.message.includes("TESSERA_ISA"))) throw error;
      console.log(`not on this machine: ${error.message}`);
    } finally {
      if (before === undefined) Deno.env.delete("TESSERA_ISA");
      else Deno.env.set("TESSERA_ISA", before);
    }
  });
}

for (const how of ["exit", "leave", "terminate", "collect"]) {
  nativeTest(`an engine survives its end: ${how}`, () =>
    withCheckpoint(async (modelPath) => {
      const script = fileURLToPath(new URL("./support/engine_endings.ts", import.meta.url));
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--allow-all", "--v8-flags=--expose-gc", script, how, modelPath],
      }).output();
      const text = new TextDecoder();
      assert.equal(text.decode(stdout).trim(), "done", text.decode(stderr));
      assert.equal(code, 0, text.decode(stderr));
    }));
}

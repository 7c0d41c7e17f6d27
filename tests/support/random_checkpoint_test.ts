/** Owns the proof that the random checkpoints are the ones the goldens were made with. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ChatConfig, configJson, tinyConfig } from "./checkpoint_config.ts";
import { toTransformersTensors } from "./checkpoint_tensors.ts";
import { CounterStream } from "./counter_random.ts";
import { goldenPixels, loadGoldens } from "./goldens.ts";
import { encodeSafetensors, randomTensors, writeRandomCheckpoint } from "./random_checkpoint.ts";

Deno.test("every golden's weights and pixels are Python's, bit for bit", () => {
  for (const golden of loadGoldens()) {
    const tensors = randomTensors(golden.config, golden.seed);
    const byName = new Map(tensors.map((tensor) => [tensor.name, tensor.values]));
    for (const [name, values] of Object.entries(golden.sample_values)) {
      assert.deepEqual([...byName.get(name)!.subarray(0, values.length)], values, `${golden.name} ${name}`);
    }
    const weights = createHash("sha256");
    for (const { values } of tensors) {
      weights.update(Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16));
    }
    assert.equal(weights.digest("hex"), golden.weights_sha256, golden.name);
    const pixels = createHash("sha256");
    for (const tile of goldenPixels(golden)) pixels.update(tile);
    assert.equal(pixels.digest("hex"), golden.pixels_sha256, golden.name);
  }
});

Deno.test("tinyConfig is the configuration of the golden named base", () => {
  const base = loadGoldens().find(({ name }) => name === "base")!;
  assert.deepEqual(tinyConfig(), base.config);
});

Deno.test("values are bf16, spread as asked, and differ by seed, name and index", () => {
  const values = new CounterStream(1, "a").bf16Values(10_000, 1, 0.25);
  const bits = new Uint32Array(values.buffer);
  assert.ok(bits.every((word) => (word & 0xffff) === 0));
  assert.ok(values.every((value) => value >= 0.75 && value <= 1.25));
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
  assert.ok(Math.abs(mean - 1) < 0.005, `mean ${mean}`);
  assert.ok(Math.abs(Math.sqrt(variance * 3) - 0.25) < 0.005, `variance ${variance}`);
  const streams = [[1, "a"], [2, "a"], [1, "b"]] as const;
  const words = streams.flatMap(([seed, name]) => [0, 1, 2].map((i) => new CounterStream(seed, name).word(i)));
  assert.equal(new Set(words).size, words.length);
});

/** Reads the tensors of a safetensors file: dtype, shape and bytes by name. */
async function readTensors(path: string) {
  const file = await readFile(path);
  const end = 8 + Number(file.readBigUInt64LE(0));
  const { __metadata__, ...header } = JSON.parse(file.subarray(8, end).toString());
  assert.equal(end % 8, 0);
  const entries: [string, { dtype: string; shape: number[]; data_offsets: [number, number] }][] = Object.entries(
    header,
  );
  assert.equal(Math.max(...entries.map(([, { data_offsets }]) => data_offsets[1])), file.length - end);
  return new Map(
    entries.map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
      return [name, { dtype, shape, bytes: file.subarray(end + from, end + to) }];
    }),
  );
}

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "tessera-checkpoint-"));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

Deno.test("a checkpoint on disk holds every tensor once, whole or in shards, BF16 or F32", async () => {
  const config: ChatConfig = tinyConfig({ decoder: { tie_word_embeddings: true } });
  const expected = randomTensors(config, 3);
  for (const [storage, numShards] of [["BF16", 1], ["F32", 3]] as const) {
    await withFolder(async (folder) => {
      await writeRandomCheckpoint(folder, { config, seed: 3, storage, numShards });
      assert.deepEqual(
        JSON.parse(await readFile(join(folder, "config.json"), "utf8")),
        configJson(config, "internvl_chat"),
      );
      const files = new Map<string, string>();
      if (numShards === 1) { for (const { name } of expected) files.set(name, "model.safetensors"); }
      else {
        const index = JSON.parse(await readFile(join(folder, "model.safetensors.index.json"), "utf8"));
        for (const [name, file] of Object.entries(index.weight_map)) files.set(name, String(file));
      }
      assert.deepEqual([...files.keys()].sort(), expected.map(({ name }) => name).sort());
      for (const { name, shape, values } of expected) {
        const tensor = (await readTensors(join(folder, files.get(name)!))).get(name)!;
        assert.equal(tensor.dtype, storage);
        assert.deepEqual(tensor.shape, [...shape]);
        const width = storage === "F32" ? 4 : 2;
        assert.equal(tensor.bytes.length, values.length * width);
        const low = new Uint8Array(values.buffer, values.length * 4 - 2, 2);
        assert.deepEqual([...tensor.bytes.subarray(-2)], [...low], name);
      }
    });
  }
});

Deno.test("transformers' layout splits qkv and renames the rest", () => {
  const tensors = randomTensors(tinyConfig(), 3);
  const renamed = tensors.flatMap(toTransformersTensors);
  const count = (list: typeof tensors): number => list.reduce((sum, { values }) => sum + values.length, 0);
  assert.equal(count(renamed), count(tensors));
  assert.ok(renamed.every(({ name }) => /^(vision_tower|multi_modal_projector|language_model)\./.test(name)));
  const qkv = tensors.find(({ name }) => name.endsWith("layers.1.attn.qkv.weight"))!;
  const key = renamed.find(({ name }) => name === "vision_tower.encoder.layer.1.attention.k_proj.weight")!;
  assert.deepEqual(key.shape, [48, 48]);
  assert.deepEqual(key.values, qkv.values.subarray(48 * 48, 2 * 48 * 48));
  assert.ok(encodeSafetensors(renamed, "F32").length > count(tensors) * 4);
});

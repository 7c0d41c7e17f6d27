/** Owns the proof that a decoder cut over devices says what one device says, and that what cannot be cut is refused by name. */
import assert from "node:assert/strict";
import { findCheckpoint } from "../../gpu-worker/config.ts";
import type { Device, Dtype, Engine, EngineOptions } from "../../gpu-worker/engine/types.ts";
import { writeAwqCheckpoint } from "../support/awq_checkpoint.ts";
import { type ChatConfig, tinyConfig } from "../support/checkpoint_config.ts";
import { CounterStream } from "../support/counter_random.ts";
import { type DriverPrompt, EngineDriver, textPrompt } from "../support/engine_driver.ts";
import { relativeError } from "../support/errors.ts";
import { emulatedTest, nativeTest } from "../support/golden_engine.ts";
import { openNative, withNativeEngine } from "../support/native_engine.ts";
import { picturePrompts } from "../support/picture_prompts.ts";

/**
 * Of a row of logits, relative to its largest value. Sums over heads and MLP columns are added in parts, and nothing else
 * is computed otherwise: in fp32 some units of its last place a layer; with bf16 between operations a value may then
 * round to its neighbour, 2^-8 away, as it may from one batch to another.
 */
const MAX_SHIFT: Readonly<Record<string, number>> = { fp32: 2e-5, bf16: 0.02 };
/** A device quantises what it has: a row that is cut has a scale in each part, so that logits are near, not the same. */
const MAX_QUANTISED_SHIFT: Readonly<Record<string, number>> = { int8: 0.1, nf4: 0.3, fp8: 0.2 };

const SMALL = { hidden_size: 96, intermediate_size: 144, num_attention_heads: 12, head_dim: 8, vocab_size: 211 };

/** Both families; key heads that divide, and one that all devices share; biases wherever the family may have them. */
const CONFIGS: readonly (readonly [name: string, config: ChatConfig])[] = [
  ["Qwen2, 12 key heads", tinyConfig({ decoder: { ...SMALL, num_key_value_heads: 12 } })],
  ["Qwen2, 1 key head, tied", tinyConfig({ decoder: { ...SMALL, num_key_value_heads: 1, tie_word_embeddings: true } })],
  [
    "InternLM3, 1 key head, biases, 6B-style tower",
    tinyConfig({
      decoder: {
        ...SMALL,
        model_type: "internlm3",
        architectures: ["InternLM3ForCausalLM"],
        num_key_value_heads: 1,
        qkv_bias: true,
        bias: true,
      },
      vision: { norm_type: "rms_norm", qk_normalization: true, qkv_bias: false },
    }),
  ],
  [
    "InternLM3, 12 key heads",
    tinyConfig({
      decoder: {
        ...SMALL,
        model_type: "internlm3",
        architectures: ["InternLM3ForCausalLM"],
        num_key_value_heads: 12,
      },
    }),
  ],
];

/** Rows of whole blocks on each of three devices, so that weights stay in few bits there. */
const WIDE: typeof CONFIGS = [[
  "Qwen2, wide",
  tinyConfig({
    decoder: {
      ...SMALL,
      hidden_size: 64,
      intermediate_size: 192,
      num_attention_heads: 12,
      num_key_value_heads: 3,
      head_dim: 16,
    },
  }),
]];

type WriteCheckpoint = (folder: string) => Promise<void>;

interface Outcome {
  readonly ids: number[][];
  readonly rows: Float32Array[][];
  readonly tiles: Float32Array;
}

/** Tiles, prompts in chunks beside others that decode, then decoding together, all greedy. */
async function run(model: ChatConfig | WriteCheckpoint, options: Partial<EngineOptions>): Promise<Outcome> {
  const checkpoint = typeof model === "function" ? model : { config: model, seed: 3 };
  return await withNativeEngine(checkpoint, options, async (engine: Engine) => {
    assert.equal(engine.info.numDevices, options.tensorParallel ?? 1);
    const random = new CounterStream(5, "pixels");
    const numTiles = 5;
    const size = engine.info.tileSize ** 2 * 3;
    const pixels = Uint8Array.from({ length: numTiles * size }, (_, i) => random.integer(i, 256));
    const slots = Int32Array.of(4, 0, 3, 1, 2);
    await engine.encodeTiles(pixels, slots);
    const tokens = Int32Array.from({ length: 60 }, (_, i) => (i * 37 + 11) % engine.info.vocabSize);
    const withTile: DriverPrompt = {
      tokenIds: [...tokens.subarray(0, 9)],
      embeddingRows: [...tokens.subarray(0, 9)].map((_, i) =>
        i >= 2 && i < 6 ? 3 * engine.info.tokensPerTile + i - 2 : -1
      ),
    };
    const prompts = [textPrompt([...tokens]), withTile, textPrompt([...tokens.subarray(7, 8)])];
    const { ids, rows } = await new EngineDriver(engine).generateTogether(prompts, 10, [17, Infinity, Infinity]);
    return { ids, rows, tiles: await engine.tileEmbeddings(slots) };
  });
}

function assertSame(got: Outcome, expected: Outcome, maxShift: number, label: string): void {
  assert.deepEqual(got.tiles, expected.tiles, `${label}: embeddings of tiles`);
  assert.deepEqual(got.ids, expected.ids, `${label}: greedy ids`);
  got.rows.flat().forEach((row, i) => {
    const error = relativeError(row, expected.rows.flat()[i]!);
    assert.ok(error <= maxShift, `${label}, token ${i}: logits are ${error} off, at most ${maxShift}`);
  });
}

async function assertOnDevices(device: Device, dtypes: readonly Dtype[], counts: number[][]): Promise<void> {
  for (const [i, [name, config]] of CONFIGS.entries()) {
    for (const dtype of dtypes) {
      const one = await run(config, { device, dtype });
      for (const tensorParallel of counts[i % counts.length]!) {
        const got = await run(config, { device, dtype, tensorParallel });
        assertSame(got, one, MAX_SHIFT[dtype]!, `${name}, ${dtype}, ${tensorParallel} devices`);
      }
    }
  }
}

nativeTest(
  "a decoder cut over 2, 3 and 4 virtual devices has the greedy ids of one",
  () => assertOnDevices("cpu", ["fp32", "bf16"], [[2, 3, 4]]),
);

async function assertNear(device: Device, dtypes: readonly Dtype[], configs: typeof CONFIGS): Promise<void> {
  for (const [name, config] of configs) {
    for (const dtype of dtypes) {
      const one = await run(config, { device, dtype });
      const cut = await run(config, { device, dtype, tensorParallel: 3 });
      assert.deepEqual(cut.tiles, one.tiles);
      cut.rows.forEach((rows, sequence) => {
        // Of the first token: behind a choice that was close the others are of another text.
        const error = relativeError(rows[0]!, one.rows[sequence]![0]!);
        assert.ok(
          error <= MAX_QUANTISED_SHIFT[dtype]!,
          `${name}, ${dtype}, sequence ${sequence}: logits are ${error} off`,
        );
      });
    }
  }
}

nativeTest(
  "quantised weights, cut over virtual devices, are near those on one",
  () => assertNear("cpu", ["int8", "nf4"], CONFIGS),
);

emulatedTest(
  "quantised weights, cut over emulated GPUs, are near those on one",
  () => assertNear("cuda", ["int8", "nf4", "fp8"], WIDE),
  3,
);

emulatedTest(
  "a decoder cut over 2, 3 and 4 emulated GPUs has the greedy ids of one",
  () => assertOnDevices("cuda", ["bf16"], [[2, 3, 4], [3]]),
  4,
);

/** Attention of four groups of columns, an MLP of five; two key heads, so that of four devices two have the same one. */
const PACKED = tinyConfig({
  decoder: {
    ...SMALL,
    hidden_size: 64,
    intermediate_size: 320,
    num_attention_heads: 8,
    num_key_value_heads: 2,
    head_dim: 32,
  },
});

const writeAwq = (config: ChatConfig): WriteCheckpoint => (folder) =>
  writeAwqCheckpoint(folder, { config, seed: 3, group: 64 });

async function assertAwqOnDevices(device: Device, dtypes: readonly Dtype[], counts: readonly number[]): Promise<void> {
  for (const dtype of dtypes) {
    const one = await run(writeAwq(PACKED), { device, dtype });
    for (const tensorParallel of counts) {
      const got = await run(writeAwq(PACKED), { device, dtype, tensorParallel });
      assertSame(got, one, MAX_SHIFT[dtype]!, `awq, ${dtype}, ${tensorParallel} devices`);
    }
  }
}

nativeTest(
  "an AWQ checkpoint, cut over 2 and 4 virtual devices, has the greedy ids of one",
  () => assertAwqOnDevices("cpu", ["bf16", "fp32"], [2, 4]),
);

emulatedTest(
  "an AWQ checkpoint, cut over 2 emulated GPUs, has the greedy ids of one",
  () => assertAwqOnDevices("cuda", ["bf16"], [2]),
  2,
);

nativeTest("AWQ groups that devices would have to share are refused by name", async () => {
  const refused = async (decoder: Partial<ChatConfig["llm_config"]>, tensorParallel: number, why: RegExp) => {
    const config = tinyConfig({ decoder: { ...PACKED.llm_config, ...decoder } });
    await assert.rejects(withNativeEngine(writeAwq(config), { tensorParallel }, () => Promise.resolve()), why);
  };
  await refused({}, 8, /tensorParallel is 8, and the heads of a device have 32 columns .* no whole groups of 64/);
  await refused({ intermediate_size: 192 }, 4, /tensorParallel is 4 and the MLP's 192 columns are fewer groups of 64/);
});

nativeTest("what does not divide is refused by name, before memory is taken", async () => {
  const refused = async (decoder: Partial<ChatConfig["llm_config"]>, options: Partial<EngineOptions>, why: RegExp) => {
    const config = tinyConfig({ decoder: { ...SMALL, num_key_value_heads: 4, ...decoder } });
    await assert.rejects(withNativeEngine({ config, seed: 1 }, options, () => Promise.resolve()), why);
  };
  await refused({}, { tensorParallel: 5 }, /tensorParallel is 5 and the decoder has 12 attention heads/);
  await refused({}, { tensorParallel: 3 }, /tensorParallel is 3 and the decoder has 4 key heads/);
  await refused({ intermediate_size: 145 }, { tensorParallel: 2 }, /tensorParallel is 2 .* MLP has 145 columns/);
  await refused({}, { tensorParallel: 0 }, /tensorParallel is 0/);
  await refused({}, { tensorParallel: 65 }, /tensorParallel/);
  await refused({ num_hidden_layers: 4 }, { tensorParallel: 2, numDevices: 2 }, /layers are split over devices/);
  await refused({}, { tensorParallel: 2, visionDevices: 65 }, /visionDevices/);
});

/** Greedy answers of the embedded model about the demonstration's pictures, and the logits they were chosen from. */
async function describePictures(device: Device, tensorParallel: number, visionDevices: number) {
  const modelPath = await findCheckpoint("internvl3-tiny");
  const engine = await openNative({
    modelPath,
    device,
    dtype: "bf16",
    numThreads: 2,
    kvCacheBytes: 2 ** 24,
    numTileSlots: 64,
    tensorParallel,
    visionDevices,
  });
  try {
    const { prompts } = await picturePrompts(engine, modelPath);
    const some = device === "cpu" ? prompts : prompts.slice(0, 1);
    return await new EngineDriver(engine).generateTogether(some, 10, some.map((_, i) => 40 + 9 * i));
  } finally {
    await engine.close();
  }
}

async function assertSaysTheSame(device: Device): Promise<void> {
  const one = await describePictures(device, 1, 0);
  for (const [tensorParallel, visionDevices] of [[2, 0], [4, 1]] as const) {
    const got = await describePictures(device, tensorParallel, visionDevices);
    assert.deepEqual(got.ids, one.ids, `${tensorParallel} devices`);
    got.rows.flat().forEach((row, i) => {
      const error = relativeError(row, one.rows.flat()[i]!);
      assert.ok(error <= MAX_SHIFT["bf16"]!, `${tensorParallel} devices, token ${i}: logits are ${error} off`);
    });
  }
  // Four heads.
  await assert.rejects(describePictures(device, 3, 0), /tensorParallel is 3 and the decoder has 4 attention heads/);
}

nativeTest("the embedded model, cut over virtual devices, says what it says on one", () => assertSaysTheSame("cpu"));
emulatedTest(
  "the embedded model, cut over emulated GPUs, says what it says on one",
  () => assertSaysTheSame("cuda"),
  4,
);

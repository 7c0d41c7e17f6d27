/** Owns the checkpoints that every side runs: random weights of a published shape, and what a run over the 1B costs. */
import { dataDir } from "../../../infra/tools/paths.ts";
import { type ChatConfig, configJson, tinyConfig } from "../../support/checkpoint_config.ts";
import { checkpointTensors, type Tensor, toTransformersTensors } from "../../support/checkpoint_tensors.ts";
import { CounterStream } from "../../support/counter_random.ts";
import { encodeValues } from "../../support/random_checkpoint.ts";

const SEED = 1;

/** Decoders as published. */
const DECODERS = {
  "1B": {
    hidden_size: 896,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    intermediate_size: 4864,
  },
  "8B": {
    hidden_size: 3584,
    num_hidden_layers: 28,
    num_attention_heads: 28,
    num_key_value_heads: 4,
    intermediate_size: 18_944,
  },
} as const;

/** Shapes that checkpoints are written of. */
export type TrueShape = keyof typeof DECODERS;

/** InternVL3 as published, without rope scaling, which changes nothing within the trained length. */
export function trueConfig(shape: TrueShape = "1B"): ChatConfig {
  return tinyConfig({
    tileSize: 448,
    vision: {
      hidden_size: 1024,
      num_hidden_layers: 24,
      num_attention_heads: 16,
      intermediate_size: 4096,
      patch_size: 14,
    },
    decoder: {
      vocab_size: 151_674,
      ...DECODERS[shape],
      max_position_embeddings: 32_768,
    },
  });
}

/** The folder with the checkpoint in transformers' layout, which all sides read; written where it is missing. */
export async function ensureCheckpoint(shape: TrueShape = "1B"): Promise<string> {
  const folder = `${dataDir()}/bench-engine/model${shape === "1B" ? "" : `-${shape}`}`;
  const stamp = `${folder}/whole.txt`;
  const config = trueConfig(shape);
  const wanted = JSON.stringify([SEED, config]);
  if (await Deno.readTextFile(stamp).catch(() => "") === wanted) return folder;
  console.log(`Writing random weights of the true shape to ${folder}`);
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(configJson(config, "transformers_v5"), null, 2));
  await writeTensors(`${folder}/model.safetensors`, config);
  await Deno.writeTextFile(stamp, wanted);
  return folder;
}

/** One tensor in memory at a time: all of them would be 4 GB. */
async function writeTensors(path: string, config: ChatConfig): Promise<void> {
  const specs = checkpointTensors(config);
  const empty = (name: string, shape: readonly number[]): Tensor => ({
    name,
    shape,
    values: new Float32Array(shape.reduce((a, b) => a * b, 1)),
  });
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const { name, shape } of specs) {
    for (const part of toTransformersTensors(empty(name, shape))) {
      const bytes = 2 * part.values.length;
      header[part.name] = { dtype: "BF16", shape: part.shape, data_offsets: [end, end + bytes] };
      end += bytes;
    }
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const start = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(start.buffer).setBigUint64(0, BigInt(start.length - 8), true);
  start.set(json, 8);
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  const writer = file.writable.getWriter();
  await writer.write(start);
  for (const { name, shape, mean, halfRange } of specs) {
    const values = new CounterStream(SEED, name).bf16Values(shape.reduce((a, b) => a * b, 1), mean, halfRange);
    for (const part of toTransformersTensors({ name, shape, values })) {
      await writer.write(encodeValues(part.values, "BF16"));
    }
  }
  await writer.close();
}

/** Multiply-adds count as two operations. */
export function visionFlops(): number {
  const { vision_config: vision, llm_config: decoder, force_image_size } = trueConfig();
  const patches = (force_image_size / vision.patch_size) ** 2;
  const tokens = patches + 1;
  const hidden = vision.hidden_size;
  const layer = tokens * (4 * hidden * hidden + 2 * hidden * vision.intermediate_size) + 2 * tokens * tokens * hidden;
  const patch = patches * 3 * vision.patch_size ** 2 * hidden;
  const projector = patches / 4 * (4 * hidden * decoder.hidden_size + decoder.hidden_size ** 2);
  return 2 * (vision.num_hidden_layers * layer + patch + projector);
}

/** Weights of the decoder's linear layers. */
function numLayerWeights(): number {
  const { llm_config: c } = trueConfig();
  const kv = c.hidden_size / c.num_attention_heads * c.num_key_value_heads;
  const layer = c.hidden_size * (2 * c.hidden_size + 2 * kv) + 3 * c.hidden_size * c.intermediate_size;
  return c.num_hidden_layers * layer;
}

/** A prompt of `tokens`, logits of its last token. */
export function prefillFlops(tokens: number): number {
  const { llm_config: c } = trueConfig();
  const attention = c.num_hidden_layers * tokens * tokens * c.hidden_size; // half of the square
  return 2 * (tokens * numLayerWeights() + attention + c.hidden_size * c.vocab_size);
}

const BYTES_A_WEIGHT = { bf16: 2, int8: 1, nf4: 4.5 / 8 };

/** Memory one decoding step reads: linear layers and head in their types, cache in bf16. */
export function decodeBytes(
  dtype: keyof typeof BYTES_A_WEIGHT,
  head: "bf16" | "int8",
  context: number,
  batch: number,
): number {
  const { llm_config: c } = trueConfig();
  const kv = 2 * c.num_hidden_layers * c.hidden_size / c.num_attention_heads * c.num_key_value_heads;
  return numLayerWeights() * BYTES_A_WEIGHT[dtype] + BYTES_A_WEIGHT[head] * c.hidden_size * c.vocab_size +
    2 * kv * context * batch;
}

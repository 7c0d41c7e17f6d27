/** Owns checkpoints quantised as AWQ publishes them: a decoder's linear layers packed, and what they stand for. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ChatConfig } from "./checkpoint_config.ts";
import type { Tensor } from "./checkpoint_tensors.ts";
import { randomTensors } from "./random_checkpoint.ts";

/** Place of each of eight outputs in a word, four bits each. */
const PLACES = [0, 4, 1, 5, 2, 6, 3, 7];

const isPacked = ({ name }: Tensor): boolean => /^language_model\.model\.layers\..*_proj\.weight$/.test(name);

/** The code, zero and scale of each weight [out, in], a zero and scale for each `group` of inputs. */
function quantised({ shape, values }: Tensor, group: number) {
  const [outputs, inputs] = shape as [number, number];
  const codes = new Uint8Array(values.length);
  const zeros = new Uint8Array(values.length / group);
  const scales = new Float16Array(values.length / group);
  for (let g = 0; g < scales.length; g++) {
    const block = values.subarray(g * group, (g + 1) * group);
    const least = Math.min(...block);
    const scale = Math.f16round(Math.max(Math.max(...block) - least, 1e-5) / 15);
    scales[g] = scale;
    zeros[g] = Math.min(15, Math.max(0, Math.round(-least / scale)));
    block.forEach((x, i) => codes[g * group + i] = Math.min(15, Math.max(0, Math.round(x / scale) + zeros[g]!)));
  }
  return { outputs, inputs, groups: inputs / group, codes, zeros, scales };
}

/** The tensor with the weights that AWQ makes of it: (code - zero) * scale in fp16. Others stay as they are. */
export function awqDequantised(tensor: Tensor, group: number): Tensor {
  if (!isPacked(tensor)) return tensor;
  const { codes, zeros, scales } = quantised(tensor, group);
  const at = (i: number): number => Math.floor(i / group);
  return {
    ...tensor,
    values: Float32Array.from(codes, (code, i) => Math.f16round((code - zeros[at(i)]!) * scales[at(i)]!)),
  };
}

/** Eight outputs a word: `code(line, output)` for [lines][outputs / 8]. */
function packed(lines: number, outputs: number, code: (line: number, output: number) => number): Uint8Array {
  const words = new Uint32Array(lines * outputs / 8);
  for (let line = 0; line < lines; line++) {
    for (let o = 0; o < outputs; o++) {
      words[line * outputs / 8 + (o >> 3)]! |= code(line, o) << (4 * PLACES[o % 8]!);
    }
  }
  return new Uint8Array(words.buffer);
}

interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

function entries(tensor: Tensor, group: number): Entry[] {
  if (!isPacked(tensor)) {
    const { name, shape, values } = tensor;
    return [{ name, dtype: "F32", shape, bytes: new Uint8Array(values.slice().buffer) }];
  }
  const { outputs, inputs, groups, codes, zeros, scales } = quantised(tensor, group);
  const layer = tensor.name.replace(/weight$/, "");
  const turned = new Float16Array(scales.length);
  for (let g = 0; g < groups; g++) for (let o = 0; o < outputs; o++) turned[g * outputs + o] = scales[o * groups + g]!;
  return [
    {
      name: `${layer}qweight`,
      dtype: "I32",
      shape: [inputs, outputs / 8],
      bytes: packed(inputs, outputs, (i, o) => codes[o * inputs + i]!),
    },
    {
      name: `${layer}qzeros`,
      dtype: "I32",
      shape: [groups, outputs / 8],
      bytes: packed(groups, outputs, (g, o) => zeros[o * groups + g]!),
    },
    { name: `${layer}scales`, dtype: "F16", shape: [groups, outputs], bytes: new Uint8Array(turned.buffer) },
  ];
}

export interface AwqCheckpointOptions {
  readonly config: ChatConfig;
  readonly seed: number;
  readonly group: number;
  /** Go into its quantization_config. */
  readonly settings?: Record<string, unknown>;
  /** Name of a tensor that is left out. */
  readonly drop?: string;
}

/** Writes a random checkpoint in the vendor's layout with an AWQ decoder. */
export async function writeAwqCheckpoint(folder: string, options: AwqCheckpointOptions): Promise<void> {
  const { config, seed, group, settings = {}, drop } = options;
  const all = randomTensors(config, seed).flatMap((tensor) => entries(tensor, group)).filter(({ name }) =>
    name !== drop
  );
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const { name, dtype, shape, bytes } of all) {
    header[name] = { dtype, shape, data_offsets: [end, end += bytes.length] };
  }
  const text = JSON.stringify(header);
  const json = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  await mkdir(folder, { recursive: true });
  const quantization = {
    quant_method: "awq",
    bits: 4,
    group_size: group,
    version: "gemm",
    zero_point: true,
    modules_to_not_convert: ["vision_model", "mlp1"],
    ...settings,
  };
  await writeFile(
    join(folder, "config.json"),
    JSON.stringify({ ...config, quantization_config: quantization }),
  );
  await writeFile(
    join(folder, "model.safetensors"),
    new Blob([length, json, ...all.map(({ bytes }) => bytes)] as BlobPart[]).stream(),
  );
}

/** Owns a second, plain implementation of bitsandbytes' weight types for tests: what weights become when quantised. */
import type { Dtype } from "../../gpu-worker/engine/types.ts";
import type { Tensor } from "./checkpoint_tensors.ts";
import type { Golden } from "./goldens.ts";

const { fround } = Math;

const VALUES: Readonly<Record<"nf4" | "fp4", readonly number[]>> = {
  nf4: [
    ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635],
    ...[-0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634],
    ...[0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
  ],
  // In rising order, which is not the order of codes; the values are all that matters here.
  fp4: [-12, -8, -6, -4, -3, -2, -0.0625, 0, 0.0625, 2, 3, 4, 6, 8, 12].map((x) => fround(x / 12)),
};

/** The dynamic 8-bit type of block scales. */
const SCALE_MAP: readonly number[] = [
  0,
  1,
  ...Array.from({ length: 7 }, (_, exponent) => {
    const count = 2 ** exponent;
    const step = fround(fround(1 - fround(0.1)) / count);
    const point = (i: number): number => fround(2 * i < count ? fround(0.1) + step * i : 1 - step * (count - i));
    const power = fround(10 ** (exponent - 6));
    return Array.from({ length: count }, (_, i) => fround(power * fround(fround(point(i) + point(i + 1)) / 2)));
  }).flatMap((positive) => [...positive, ...positive.map((x) => -x)]),
].sort((a, b) => a - b);

/** The entry of a rising list that is nearest; the lower one half way. */
function nearest(list: readonly number[], value: number): number {
  const at = list.findIndex((x, i) => i + 1 === list.length || value <= fround(fround(x + list[i + 1]!) / 2));
  return list[at]!;
}

const largest = (values: Float32Array): number => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

/** Each block's values times 1 / its largest, through `list`, times that largest as `scale` has it. */
function throughBlocks(
  values: Float32Array,
  size: number,
  list: readonly number[],
  scale: (absmax: number, block: number) => number,
): Float32Array {
  const out = new Float32Array(values.length);
  for (let first = 0; first < values.length; first += size) {
    const block = values.subarray(first, first + size);
    const absmax = largest(block);
    const divisor = Math.max(absmax, fround(1e-38));
    const factor = scale(absmax, first / size);
    block.forEach((x, i) => {
      const unit = block.length < size ? fround(x / divisor) : fround(x * fround(1 / divisor));
      out[first + i] = nearest(list, Math.min(1, Math.max(-1, unit))) * factor;
    });
  }
  return out;
}

function dequantised4(values: Float32Array, type: "nf4" | "fp4"): Float32Array {
  const absmax = Float32Array.from(
    { length: Math.ceil(values.length / 64) },
    (_, block) => largest(values.subarray(block * 64, (block + 1) * 64)),
  );
  const offset = fround(absmax.reduce((a, b) => a + b, 0) / absmax.length);
  const centred = absmax.map((x) => x - offset);
  // Two levels: a block's scale goes through the 8-bit map with 255 others.
  const scales = new Float32Array(absmax.length);
  for (let first = 0; first < centred.length; first += 256) {
    const group = centred.subarray(first, first + 256);
    const inverse = fround(1 / Math.max(largest(group), fround(1e-38)));
    group.forEach((x, i) => {
      const unit = Math.min(1, Math.max(-1, fround(x * inverse)));
      scales[first + i] = fround(nearest(SCALE_MAP, unit) * largest(group)) + offset;
    });
  }
  return throughBlocks(values, 64, VALUES[type], (_, block) => scales[block]!);
}

/** Rounds to a whole number, half way to the even one. */
function roundedToEven(value: number): number {
  const floor = Math.floor(value);
  const isUp = value - floor > 0.5 || (value - floor === 0.5 && floor % 2 !== 0);
  return floor + Number(isUp);
}

/** A row's values to whole multiples of its largest / 127. */
function dequantised8(values: Float32Array, cols: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let first = 0; first < values.length; first += cols) {
    const row = values.subarray(first, first + cols);
    const absmax = largest(row);
    const factor = fround(fround(1 / absmax) * 127);
    const step = fround(absmax / 127);
    row.forEach((x, i) => out[first + i] = roundedToEven(fround(x * factor)) * step);
  }
  return out;
}

/** The nearest number of E4M3, the even one half way; beyond the largest that one. */
function e4m3(value: number): number {
  const exponent = Math.max(-6, Math.floor(Math.log2(Math.abs(value))));
  const step = 2 ** (exponent - 3);
  return value === 0 ? value : Math.max(-448, Math.min(448, roundedToEven(value / step) * step));
}

/** A row's values through E4M3, its largest becoming 448. */
function dequantisedFp8(values: Float32Array, cols: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let first = 0; first < values.length; first += cols) {
    const row = values.subarray(first, first + cols);
    const absmax = largest(row);
    const factor = fround(448 / absmax);
    row.forEach((x, i) => out[first + i] = e4m3(fround(x * factor)) * fround(absmax / 448));
  }
  return out;
}

/** Rounds to bf16, to nearest even. */
function roundedToBf16(values: Float32Array): Float32Array {
  const bits = new Uint32Array(values.slice().buffer);
  for (let i = 0; i < bits.length; i++) bits[i] = (bits[i]! + 0x7fff + (bits[i]! >>> 16 & 1)) & 0xffff0000;
  return new Float32Array(bits.buffer);
}

/** The matrices that are quantised, by their original names. */
const QUANTISED = /(vision_model\.encoder\..*(qkv|proj|fc1|fc2)|language_model\.model\.layers\..*_proj)\.weight$/;

/**
 * What an engine of `dtype` multiplies with instead of a tensor. In 4 bits that is bf16, and so in FP8 on a GPU without
 * products of it, so a bf16 checkpoint can hold exactly the same; in int8 it is fp32.
 */
export function dequantised(tensor: Tensor, dtype: Dtype): Tensor {
  if (!QUANTISED.test(tensor.name)) return tensor;
  if (dtype === "int8") return { ...tensor, values: dequantised8(tensor.values, tensor.shape[1]!) };
  if (dtype === "fp8") return { ...tensor, values: roundedToBf16(dequantisedFp8(tensor.values, tensor.shape[1]!)) };
  if (dtype !== "nf4" && dtype !== "fp4") return tensor;
  return { ...tensor, values: roundedToBf16(dequantised4(tensor.values, dtype)) };
}

/** A golden's prompts over a model whose rows are whole blocks of 64 weights, as those of every published model are. */
export function wholeBlocks(golden: Golden): Golden {
  const { config } = golden;
  return {
    ...golden,
    name: `${golden.name} in whole blocks`,
    config: {
      ...config,
      vision_config: { ...config.vision_config, hidden_size: 128, num_attention_heads: 4, intermediate_size: 192 },
      llm_config: {
        ...config.llm_config,
        hidden_size: 192,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        intermediate_size: 320,
      },
    },
  };
}

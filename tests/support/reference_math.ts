/** Owns the arithmetic of the reference engine: plain loops in float64, results kept in fp32, no attention to speed. */
import { type DecoderConfig, headDim } from "./checkpoint_config.ts";

/** A weight matrix [out, in] with an optional bias. */
export interface Linear {
  readonly weight: Float32Array;
  readonly bias: Float32Array | undefined;
}

/** y = W x + b. */
export function linear(x: Float32Array, { weight, bias }: Linear): Float32Array {
  const width = x.length;
  const out = new Float32Array(weight.length / width);
  for (let row = 0; row < out.length; row++) {
    let sum = bias?.[row] ?? 0;
    const start = row * width;
    for (let i = 0; i < width; i++) sum += weight[start + i]! * x[i]!;
    out[row] = sum;
  }
  return out;
}

/** (x - mean) / sqrt(variance + eps) * weight + bias. */
export function layerNorm(x: Float32Array, { weight, bias }: Linear, eps: number): Float32Array {
  let mean = 0;
  for (const value of x) mean += value / x.length;
  let variance = 0;
  for (const value of x) variance += (value - mean) ** 2 / x.length;
  const scale = 1 / Math.sqrt(variance + eps);
  return x.map((value, i) => (value - mean) * scale * weight[i]! + (bias?.[i] ?? 0));
}

/** x / sqrt(mean(x^2) + eps) * weight. */
export function rmsNorm(x: Float32Array, weight: Float32Array, eps: number): Float32Array {
  let square = 0;
  for (const value of x) square += value * value / x.length;
  const scale = 1 / Math.sqrt(square + eps);
  return x.map((value, i) => value * scale * weight[i]!);
}

/** Error function by its Taylor series, 1e-9; beyond 4 it is ±1 to 2e-8. */
function erf(x: number): number {
  if (Math.abs(x) > 4) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 80; n++) {
    term *= -x * x / n;
    sum += term / (2 * n + 1);
  }
  return sum * 2 / Math.sqrt(Math.PI);
}

/** The exact GELU, by erf. */
export function gelu(x: number): number {
  return x * 0.5 * (1 + erf(x / Math.SQRT2));
}

export function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

/**
 * One head's attention: softmax(q k / sqrt(d)) v.
 * @param keys `keys(i)` and `values(i)` are the d-long rows of cached token i
 */
export function attend(
  query: Float32Array,
  numKeys: number,
  keys: (i: number) => Float32Array,
  values: (i: number) => Float32Array,
): Float32Array {
  const scale = 1 / Math.sqrt(query.length);
  const scores = Array.from({ length: numKeys }, (_, i) => {
    const key = keys(i);
    let dot = 0;
    for (let d = 0; d < query.length; d++) dot += query[d]! * key[d]!;
    return dot * scale;
  });
  const max = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = scores.map((score) => Math.exp(score - max));
  const total = weights.reduce((a, b) => a + b, 0);
  const sum = new Float64Array(query.length);
  weights.forEach((weight, i) => {
    const value = values(i);
    for (let d = 0; d < sum.length; d++) sum[d]! += weight / total * value[d]!;
  });
  return Float32Array.from(sum);
}

/** Rotates a head by its position, halves paired (i, i + d/2) as Qwen2 does. */
export function rotate(head: Float32Array, position: number, theta: number): Float32Array {
  const half = head.length / 2;
  const out = new Float32Array(head.length);
  for (let i = 0; i < half; i++) {
    const angle = position * theta ** (-i / half);
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    out[i] = head[i]! * cos - head[i + half]! * sin;
    out[i + half] = head[i + half]! * cos + head[i]! * sin;
  }
  return out;
}

/** Base of a sequence of `length` tokens: beyond the trained length stretched by dynamic NTK scaling, where there is. */
export function stretchedBase(decoder: DecoderConfig, length: number): number {
  const { rope_scaling, rope_theta, max_position_embeddings: trained } = decoder;
  if (rope_scaling === null || length <= trained) return rope_theta;
  const dim = headDim(decoder);
  return rope_theta * (rope_scaling.factor * length / trained - (rope_scaling.factor - 1)) ** (dim / (dim - 2));
}

/** Keys' cubic convolution with a = -0.75, as torch's bicubic. */
function cubic(distance: number): number {
  const x = Math.abs(distance);
  const a = -0.75;
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? a * (((x - 5) * x + 8) * x - 4) : 0;
}

/** Resamples a [from, from, width] grid to [to, to, width]: bicubic, pixel centres aligned, edges repeated. */
export function resampleGrid(grid: Float32Array, from: number, to: number, width: number): Float32Array {
  const taps = (i: number): [number, number][] => {
    const centre = (i + 0.5) * from / to - 0.5;
    const first = Math.floor(centre) - 1;
    return [0, 1, 2, 3].map((k) => {
      return [Math.min(from - 1, Math.max(0, first + k)), cubic(centre - first - k)];
    });
  };
  const out = new Float32Array(to * to * width);
  for (let y = 0; y < to; y++) {
    for (let x = 0; x < to; x++) {
      for (let c = 0; c < width; c++) {
        let sum = 0;
        for (const [sy, wy] of taps(y)) {
          for (const [sx, wx] of taps(x)) sum += wy * wx * grid[(sy * from + sx) * width + c]!;
        }
        out[(y * to + x) * width + c] = sum;
      }
    }
  }
  return out;
}

export function add(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value + b[i]!);
}

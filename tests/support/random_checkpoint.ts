/** Owns writing a checkpoint folder (`config.json`, safetensors) with seeded random weights for an InternVL configuration. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type ChatConfig, type CheckpointLayout, configJson } from "./checkpoint_config.ts";
import { checkpointTensors, type Tensor, toTransformersTensors } from "./checkpoint_tensors.ts";
import { CounterStream } from "./counter_random.ts";

/** How the weights lie on disk. */
export interface RandomCheckpointOptions {
  readonly config: ChatConfig;
  readonly seed: number;
  /** Default: the original names. */
  readonly layout?: CheckpointLayout;
  /** Values are representable in bf16, so `BF16` and `F32` hold the same numbers. Default `BF16`. */
  readonly storage?: Storage;
  /** Files the tensors are spread over; more than one adds `model.safetensors.index.json`. Default 1. */
  readonly numShards?: number;
  /** Changes the values before they are written; they must stay representable in `storage`. */
  readonly change?: (tensor: Tensor) => Tensor;
  /** Leaves tensors out or adds some, under the names of the layout: for faulty checkpoints. */
  readonly spoil?: (tensor: Tensor) => Tensor[];
}

/** Type of the values on disk; `mixed` takes turns, tensor by tensor. */
export type Storage = "BF16" | "F16" | "F32" | "mixed";

const TURNS = ["BF16", "F16", "F32"] as const;

/** A tensor with values that fp16 can hold: for storage in `F16` or `mixed`. */
export function inFp16(tensor: Tensor): Tensor {
  return { ...tensor, values: tensor.values.map((value) => Math.f16round(value)) };
}

/** All tensors of a configuration with their values, under their original names. */
export function randomTensors(config: ChatConfig, seed: number): Tensor[] {
  return checkpointTensors(config).map(({ name, shape, mean, halfRange }) => ({
    name,
    shape,
    values: new CounterStream(seed, name).bf16Values(shape.reduce((a, b) => a * b, 1), mean, halfRange),
  }));
}

/** Little-endian values as they lie in a file. */
export function encodeValues(values: Float32Array, storage: (typeof TURNS)[number]): Uint8Array {
  if (storage === "F16") return new Uint8Array(new Float16Array(values).buffer);
  if (storage === "F32") return new Uint8Array(values.slice().buffer);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) halves[i] = bits[i]! >>> 16;
  return new Uint8Array(halves.buffer);
}

/** One safetensors file: u64 length of the header, JSON header padded to 8 bytes, tensor bytes in header order. */
export function encodeSafetensors(tensors: readonly Tensor[], storage: Storage): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  const parts: Uint8Array[] = [];
  let end = 0;
  for (const [i, { name, shape, values }] of tensors.entries()) {
    const dtype = storage === "mixed" ? TURNS[i % TURNS.length]! : storage;
    const bytes = encodeValues(values, dtype);
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    parts.push(bytes);
    end += bytes.length;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(json.length / 8) * 8;
  const out = new Uint8Array(8 + padded + end).fill(0x20, 8 + json.length, 8 + padded);
  new DataView(out.buffer).setBigUint64(0, BigInt(padded), true);
  out.set(json, 8);
  let at = 8 + padded;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Deals tensors out round-robin, so that layers straddle files as the vendor's do. */
function shard(tensors: readonly Tensor[], numShards: number): Tensor[][] {
  const shards: Tensor[][] = Array.from({ length: numShards }, () => []);
  tensors.forEach((tensor, i) => shards[i % numShards]!.push(tensor));
  return shards;
}

/** Writes `folder` (made if missing). */
export async function writeRandomCheckpoint(folder: string, options: RandomCheckpointOptions): Promise<void> {
  const { config, seed, layout = "internvl_chat", storage = "BF16", numShards = 1, change, spoil } = options;
  const random = randomTensors(config, seed);
  const original = change === undefined ? random : random.map(change);
  const whole = layout === "internvl_chat" ? original : original.flatMap(toTransformersTensors);
  const tensors = spoil === undefined ? whole : whole.flatMap(spoil);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), JSON.stringify(configJson(config, layout), null, 2));
  if (numShards === 1) {
    await writeFile(join(folder, "model.safetensors"), encodeSafetensors(tensors, storage));
    return;
  }
  const weightMap: Record<string, string> = {};
  let totalSize = 0;
  const pad = (n: number): string => String(n).padStart(5, "0");
  for (const [i, part] of shard(tensors, numShards).entries()) {
    const file = `model-${pad(i + 1)}-of-${pad(numShards)}.safetensors`;
    const bytes = encodeSafetensors(part, storage);
    await writeFile(join(folder, file), bytes);
    for (const { name } of part) weightMap[name] = file;
    totalSize += bytes.length - 8 - Number(new DataView(bytes.buffer).getBigUint64(0, true));
  }
  const index = JSON.stringify({ metadata: { total_size: totalSize }, weight_map: weightMap }, null, 2);
  await writeFile(join(folder, "model.safetensors.index.json"), index);
}

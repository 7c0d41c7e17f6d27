/** Owns reading the engine's goldens (tests/golden/engine/*.json) and opening an engine on the checkpoint each describes. */
import { readdirSync, readFileSync } from "node:fs";
import type { Engine } from "../../gpu-worker/engine/types.ts";
import { type ChatConfig, tokensPerTile } from "./checkpoint_config.ts";
import { randomTile } from "./counter_random.ts";
import { type DriverPrompt, shuffled } from "./engine_driver.ts";

const FOLDER = new URL("../golden/engine/", import.meta.url);

/** An array in a golden: row-major fp32. */
export interface GoldenArray {
  readonly shape: readonly number[];
  /** base64, little endian. */
  readonly f32: string;
}

/** What transformers answered to one prompt, fp32. */
export interface GoldenPrompt {
  readonly input_ids: readonly number[];
  /** Per token -1 or `tile * tokensPerTile + row`, tiles numbered across the golden. */
  readonly embedding_rows: readonly number[];
  readonly greedy_ids: readonly number[];
  /** Smallest (top1 - top2) / max |logit| over the greedy steps. */
  readonly margin: number;
  /** Smallest cosine of a kept row when matmul inputs are rounded to bf16. */
  readonly bf16_cosine: number;
  /** Positions in prompt + greedy ids whose logits are kept. */
  readonly logit_positions: readonly number[];
  readonly logits: GoldenArray;
}

/** One configuration with its prompts. */
export interface Golden {
  readonly name: string;
  /** What an engine may decline by name: `vision_rms_norm`, `vision_qk_norm`, `position_interpolation`. */
  readonly features: readonly string[];
  readonly seed: number;
  readonly config: ChatConfig;
  readonly weights_sha256: string;
  readonly sample_values: Readonly<Record<string, readonly number[]>>;
  readonly num_tiles: number;
  readonly pixels_sha256: string;
  /** [num_tiles, tokensPerTile, hidden] projector output. */
  readonly vision_features: GoldenArray;
  readonly prompts: readonly GoldenPrompt[];
}

/** Features of a tile at one hidden state of the tower, behind the projector, as `select_layer` would give them. */
export type LayerFeatures = GoldenArray | {
  /** Largest |value| of all. */
  readonly scale: number;
  /** Where in [tokensPerTile * hidden] `values` are from. */
  readonly index: readonly number[];
  readonly values: GoldenArray;
};

/** A random configuration of one of the seven models, with one prompt. */
export interface FamilyGolden extends Omit<Golden, "sample_values" | "pixels_sha256" | "vision_features"> {
  /** Where prompt and answer lie: within the trained length, growing beyond it, or beginning there. */
  readonly kind: "within" | "grows beyond" | "begins beyond";
  /** [layers + 1] of tile 0. */
  readonly layer_features: readonly LayerFeatures[];
}

const FAMILIES = "families.json";

/** The committed random configurations of the seven models. */
export function loadFamilies(): FamilyGolden[] {
  return JSON.parse(readFileSync(new URL(FAMILIES, FOLDER), "utf8"));
}

/** All committed goldens, by name. */
export function loadGoldens(): Golden[] {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith(".json") && file !== FAMILIES).sort();
  return files.map((file) => JSON.parse(readFileSync(new URL(file, FOLDER), "utf8")));
}

/** The rows (last axis) of a golden array. */
export function goldenRows(array: GoldenArray): Float32Array[] {
  const bytes = Uint8Array.from(atob(array.f32), (c) => c.charCodeAt(0));
  const values = new Float32Array(bytes.buffer);
  const width = array.shape.at(-1)!;
  return Array.from({ length: values.length / width }, (_, i) => values.subarray(i * width, (i + 1) * width));
}

/** Pixels of all of a golden's tiles, in order. */
export function goldenPixels(golden: Pick<Golden, "seed" | "num_tiles" | "config">): Uint8Array[] {
  const { seed, num_tiles, config } = golden;
  return Array.from({ length: num_tiles }, (_, i) => randomTile(seed, i, config.force_image_size));
}

/**
 * Encodes a golden's tiles into shuffled slots, in two calls where there are several, and returns the slot of each tile.
 */
export async function encodeGoldenTiles(
  engine: Engine,
  golden: Pick<Golden, "seed" | "num_tiles" | "config">,
): Promise<number[]> {
  const pixels = goldenPixels(golden);
  const slots = shuffled(engine.info.numTileSlots, 5).slice(0, pixels.length);
  const half = Math.ceil(pixels.length / 2);
  for (const [from, to] of [[0, half], [half, pixels.length]] as const) {
    if (from === to) continue;
    const size = pixels[0]!.length;
    const bytes = new Uint8Array((to - from) * size);
    pixels.slice(from, to).forEach((tile, i) => bytes.set(tile, i * size));
    await engine.encodeTiles(bytes, Int32Array.from(slots.slice(from, to)));
  }
  return slots;
}

/** A golden's prompt for the driver: embedding rows moved to the slots of its tiles, ids under them made absurd. */
export function driverPrompt(
  golden: Pick<Golden, "config">,
  prompt: GoldenPrompt,
  slots: readonly number[],
): DriverPrompt {
  const perTile = tokensPerTile(golden.config);
  const rows = prompt.embedding_rows;
  return {
    tokenIds: prompt.input_ids.map((id, i) => rows[i] === -1 ? id : -1),
    embeddingRows: rows.map((row) => row === -1 ? -1 : slots[Math.floor(row / perTile)]! * perTile + row % perTile),
  };
}

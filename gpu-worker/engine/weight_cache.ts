/** Owns where a worker keeps packed weights: the folder the user names, for checkpoints that are worth it. */
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { MIN_CACHED_WEIGHT_BYTES } from "@tessera/shared";
import type { WeightCache } from "./types.ts";

export interface WeightCacheSettings {
  readonly TESSERA_WEIGHT_CACHE: string;
  readonly TESSERA_WEIGHT_CACHE_MB: number;
  readonly TESSERA_DATA_DIR: string;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Undefined where nothing is to be kept. Relative folders are the repository's, as those of the tools. */
export async function chooseWeightCache(
  settings: WeightCacheSettings,
  modelPath: string,
): Promise<WeightCache | undefined> {
  const { TESSERA_WEIGHT_CACHE: wanted, TESSERA_WEIGHT_CACHE_MB, TESSERA_DATA_DIR } = settings;
  if (wanted === "off" || await weightBytes(modelPath) < MIN_CACHED_WEIGHT_BYTES) return undefined;
  const folder = wanted === "auto" ? join(TESSERA_DATA_DIR, "weights") : wanted;
  return { folder: isAbsolute(folder) ? folder : join(ROOT, folder), maxBytes: TESSERA_WEIGHT_CACHE_MB * 1024 * 1024 };
}

/** Of a checkpoint's files; 0 where they cannot be read, which is the engine's to tell. */
async function weightBytes(modelPath: string): Promise<number> {
  let bytes = 0;
  try {
    for await (const { name } of Deno.readDir(modelPath)) {
      if (name.endsWith(".safetensors")) bytes += (await Deno.stat(join(modelPath, name))).size;
    }
  } catch {
    return 0;
  }
  return bytes;
}

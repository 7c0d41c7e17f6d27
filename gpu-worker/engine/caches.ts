/** Owns where a worker keeps packed weights, and what it measured of a GPU: in folders that the user names. */
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { MIN_CACHED_WEIGHT_BYTES } from "@tessera/shared";
import type { WeightCache } from "./types.ts";

export interface WeightCacheSettings {
  readonly TESSERA_WEIGHT_CACHE: string;
  readonly TESSERA_WEIGHT_CACHE_MB: number;
  readonly TESSERA_DATA_DIR: string;
}

export interface AlgorithmCacheSettings {
  readonly TESSERA_ALGORITHM_CACHE: string;
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
  return { folder: absolute(folder), maxBytes: TESSERA_WEIGHT_CACHE_MB * 1024 * 1024 };
}

/** Undefined where nothing is to be measured and kept. */
export function chooseAlgorithmCache(settings: AlgorithmCacheSettings): string | undefined {
  const { TESSERA_ALGORITHM_CACHE: wanted, TESSERA_DATA_DIR } = settings;
  if (wanted === "off") return undefined;
  return absolute(wanted === "auto" ? join(TESSERA_DATA_DIR, "algorithms") : wanted);
}

function absolute(folder: string): string {
  return isAbsolute(folder) ? folder : join(ROOT, folder);
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

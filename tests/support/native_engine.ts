/** Owns finding the native engine in tests: whether it can be opened here, and the reason where it cannot. */
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Engine, EngineOptions } from "../../gpu-worker/engine/types.ts";
import { emulatedAddon } from "./emulated_gpu.ts";
import { type RandomCheckpointOptions, writeRandomCheckpoint } from "./random_checkpoint.ts";

const OPENER = new URL("../../gpu-worker/engine/native.ts", import.meta.url);
const BUILD = new URL("../../native/build/", import.meta.url);

/** Why the native engine cannot be tested here, or undefined. An addon that is built but does not load is a failure. */
export function whyNoNativeEngine(): string | undefined {
  if (!existsSync(OPENER)) return "gpu-worker/engine/native.ts is missing";
  const isBuilt = existsSync(BUILD) && readdirSync(BUILD, { recursive: true }).some((f) => String(f).endsWith(".node"));
  return isBuilt ? undefined : "the addon is not built";
}

/** Opens the native engine; device cuda is an emulated GPU. */
export async function openNative(options: EngineOptions): Promise<Engine> {
  // By URL, not by a static import: these tests must also load where the file or its addon is missing.
  const module: { openNativeEngine(options: EngineOptions, addon?: string): Promise<Engine> } = await import(
    OPENER.href
  );
  if (options?.device !== "cuda") return await module.openNativeEngine(options);
  return await module.openNativeEngine(options, await emulatedAddon());
}

/** Runs `use` on the native engine of a random or written checkpoint in a temporary folder; closes and removes both. */
export async function withNativeEngine<T>(
  checkpoint: RandomCheckpointOptions | ((folder: string) => Promise<void>),
  options: Partial<EngineOptions>,
  use: (engine: Engine) => Promise<T>,
): Promise<T> {
  const modelPath = await mkdtemp(join(tmpdir(), "tessera-checkpoint-"));
  try {
    if (typeof checkpoint === "function") await checkpoint(modelPath);
    else await writeRandomCheckpoint(modelPath, checkpoint);
    const engine = await openNative({
      modelPath,
      device: "cpu",
      dtype: "fp32",
      numThreads: 2,
      kvCacheBytes: 16 * 2 ** 20,
      numTileSlots: 24,
      ...options,
    });
    try {
      return await use(engine);
    } finally {
      await engine.close();
    }
  } finally {
    await rm(modelPath, { recursive: true });
  }
}

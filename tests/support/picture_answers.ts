/** Owns what the embedded model says of the demonstration's pictures on an engine that is driven without a worker. */
import { findCheckpoint } from "../../gpu-worker/config.ts";
import type { Engine, EngineOptions } from "../../gpu-worker/engine/types.ts";
import { type DriverPrompt, EngineDriver } from "./engine_driver.ts";
import { openNative } from "./native_engine.ts";
import { picturePrompts } from "./picture_prompts.ts";

/** Of each picture. */
export interface PictureAnswers {
  /** Greedy ids, up to the one that ends the answer. */
  readonly ids: readonly (readonly number[])[];
  /** The logits each was chosen from. */
  readonly rows: readonly (readonly Float32Array[])[];
}

/** Greedy answers about the first `count` pictures together, whose prompts are read in pieces of unlike lengths. */
export async function describePictures(
  variant: Pick<EngineOptions, "device" | "dtype"> & Partial<EngineOptions>,
  count = Infinity,
): Promise<PictureAnswers> {
  const modelPath = await findCheckpoint("internvl3-tiny");
  const options = { modelPath, numThreads: 2, kvCacheBytes: 2 ** 24, numTileSlots: 64, ...variant };
  const engine: Engine = await openNative(options);
  try {
    const { prompts, eosIds } = await picturePrompts(engine, modelPath, count);
    const driver = new EngineDriver(engine);
    const { ids, rows } = await driver.generateTogether(prompts, 24, prompts.map((_: DriverPrompt, i) => 40 + 9 * i));
    const ends = ids.map((own) => own.findIndex((id) => eosIds.has(id)) + 1 || own.length);
    return { ids: ids.map((own, i) => own.slice(0, ends[i])), rows: rows.map((own, i) => own.slice(0, ends[i])) };
  } finally {
    await engine.close();
  }
}

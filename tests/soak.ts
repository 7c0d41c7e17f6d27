/** Opens, uses and closes the embedded model many times: `deno task soak:engine [cycles]`. Exit code 1 where memory grows. */
import { buildAddon } from "@tessera/native";
import { findCheckpoint } from "../gpu-worker/config.ts";
import { EngineDriver, textPrompt } from "./support/engine_driver.ts";
import { openNative } from "./support/native_engine.ts";

const DEFAULT_CYCLES = 10_000;
/** Resident memory may end this much above where it was half way: allocators settle late. An engine takes 10 MiB. */
const MAX_GROWTH_MIB = 24;

/** Resident memory in MiB after half of the cycles and at the end. */
export async function cycleEngine(numCycles: number): Promise<readonly [number, number]> {
  const modelPath = await findCheckpoint("internvl3-tiny");
  const resident = (): number => Deno.memoryUsage().rss / 2 ** 20;
  let half = 0;
  for (let i = 0; i < numCycles; i++) {
    const dtype = (["bf16", "int8", "fp32"] as const)[i % 3]!;
    const engine = await openNative({
      modelPath,
      device: "cpu",
      dtype,
      numThreads: 2,
      kvCacheBytes: 0,
      numTileSlots: 1,
      numDevices: 1 + i % 2,
    });
    const driver = new EngineDriver(engine);
    const step = driver.step([{ sequence: driver.add(textPrompt([1, 2, 3])), numTokens: 3 }]);
    // Every other time the engine is closed under a running step.
    if (i % 2 === 0) await step;
    await Promise.all([engine.close(), step]);
    if (i === Math.floor(numCycles / 2)) half = resident();
  }
  return [half, resident()];
}

/** Whether memory has stayed where it was. */
export function isSteady([half, late]: readonly [number, number]): boolean {
  return late <= half + MAX_GROWTH_MIB;
}

if (import.meta.main) {
  await buildAddon({ progress: console.log });
  const numCycles = Number(Deno.args[0] ?? DEFAULT_CYCLES);
  const memory = await cycleEngine(numCycles);
  console.log(`${numCycles} cycles: ${memory[0].toFixed(1)} MiB half way, ${memory[1].toFixed(1)} MiB at the end`);
  if (!isSteady(memory)) Deno.exit(1);
}

/** Owns opening an engine on a golden's checkpoint with its tiles encoded, and running the golden's prompts on it. */
import type { Device, Dtype, Engine } from "../../gpu-worker/engine/types.ts";
import { hasEmulatedGpu, isOnGpu, numGpus } from "./emulated_gpu.ts";
import { type DriverPrompt, EngineDriver } from "./engine_driver.ts";
import { driverPrompt, encodeGoldenTiles, type Golden, type GoldenPrompt } from "./goldens.ts";
import { whyNoNativeEngine, withNativeEngine } from "./native_engine.ts";
import type { RandomCheckpointOptions } from "./random_checkpoint.ts";
import { ReferenceEngine } from "./reference_engine.ts";

/** An engine with a golden's tiles in it. */
export interface OpenGolden {
  readonly engine: Engine;
  readonly driver: EngineDriver;
  /** The golden's prompts, as the driver takes them. */
  readonly prompts: readonly DriverPrompt[];
}

/** How the native engine is opened; the checkpoint's own layout included. */
export interface NativeVariant
  extends Partial<Pick<RandomCheckpointOptions, "layout" | "storage" | "numShards" | "change">> {
  readonly dtype: Dtype;
  readonly device?: Device;
  readonly numThreads?: number;
  readonly numDevices?: number;
  readonly tensorParallel?: number;
  readonly visionDevices?: number;
  readonly headDtype?: "int8";
}

/** How an engine must word the refusal of a feature, for the refusal to count as one. */
const REFUSALS: Readonly<Record<string, RegExp>> = {
  vision_rms_norm: /rms_?norm/i,
  vision_qk_norm: /qk_norm/i,
  position_interpolation: /position|interpolat/i,
};

async function prepare(engine: Engine, golden: Golden): Promise<OpenGolden> {
  const slots = await encodeGoldenTiles(engine, golden);
  const prompts = golden.prompts.map((prompt) => driverPrompt(golden, prompt, slots));
  return { engine, driver: new EngineDriver(engine), prompts };
}

/** Runs `use` on the reference engine. */
export async function onReference(golden: Golden, use: (open: OpenGolden) => Promise<void>): Promise<void> {
  await use(await prepare(new ReferenceEngine(golden.config, golden.seed), golden));
}

/** Runs `use` on the native engine; where that refuses one of the golden's features by name, says so and does nothing. */
export async function onNative(
  golden: Golden,
  variant: NativeVariant,
  use: (open: OpenGolden) => Promise<void>,
): Promise<void> {
  const { dtype, device = "cpu", numThreads = 2, headDtype = "auto", ...rest } = variant;
  const { numDevices = 1, tensorParallel = 1, visionDevices = 0, ...checkpoint } = rest;
  const { config, seed, features } = golden;
  try {
    await withNativeEngine(
      { config, seed, ...checkpoint },
      { dtype, device, numThreads, numDevices, tensorParallel, visionDevices, headDtype },
      async (engine) => {
        await use(await prepare(engine, golden));
      },
    );
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (!features.some((feature) => REFUSALS[feature]!.test(message))) throw error;
    console.log(`refused by name: ${message}`);
  }
}

/** A test of the native engine: ignored, with the reason in its name, where that cannot be opened. */
export function nativeTest(name: string, fn: () => Promise<void>): void {
  const skip = whyNoNativeEngine();
  Deno.test({ name: skip ? `${name} (skipped: ${skip})` : name, ignore: skip !== undefined, fn });
}

/**
 * A test of the CUDA backend on emulated GPUs, or on real ones where `test:gpu` says so: ignored where neither is, or
 * fewer than the test needs.
 */
export function emulatedTest(name: string, fn: () => Promise<void>, needed = 1): void {
  const skip = !hasEmulatedGpu && !isOnGpu
    ? "emulated GPUs are for x86-64 Linux"
    : numGpus < needed
    ? `it needs ${needed} GPUs, here ${numGpus === 1 ? "is 1" : `are ${numGpus}`}`
    : whyNoNativeEngine();
  Deno.test({ name: skip ? `${name} (skipped: ${skip})` : name, ignore: skip !== undefined, fn });
}

/** Logits of a golden's kept rows, from one teacher-forced pass over prompt and greedy ids. */
export async function keptRows(
  driver: EngineDriver,
  prompt: DriverPrompt,
  golden: GoldenPrompt,
): Promise<Float32Array[]> {
  const sequence = driver.add(prompt);
  for (const id of golden.greedy_ids.slice(0, -1)) driver.append(sequence, id);
  const [rows] = await driver.logits([{ sequence, numTokens: sequence.tokenIds.length }]);
  driver.free(sequence);
  return golden.logit_positions.map((position) => rows![position]!);
}

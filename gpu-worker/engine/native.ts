/** Owns opening the engine's addon: the only file of the worker that does. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { addonPath as builtAddonPath } from "@tessera/native";
import { z } from "zod";
import { readCheckpointJson } from "../checkpoint_file.ts";
import { splitLayers } from "../plan/split_layers.ts";
import type { Engine, EngineOptions } from "./types.ts";

/** What the addon exports. Its handles keep the contract of `Engine`, rejections included. */
interface Addon {
  open(options: AddonOptions): Promise<Engine>;
}

/** The addon is told of each layer's device, not of how many there are. */
interface AddonOptions extends Omit<EngineOptions, "numDevices"> {
  /** [decoder layers] */
  readonly layerDevices?: Int32Array;
}

const require = createRequire(import.meta.url);

/** Opens a checkpoint on the native engine; takes as long as reading the weights does. */
export async function openNativeEngine(options: EngineOptions, addonPath: string = builtAddonPath): Promise<Engine> {
  if (!existsSync(addonPath)) {
    throw new Error(`Cannot open the engine: ${addonPath} is missing, expected it built (deno task build:native)`);
  }
  const addon = require(addonPath) as Addon;
  const { numDevices = 1, ...rest } = options ?? {};
  if (numDevices === 1) return await addon.open(options);
  const layerDevices = Int32Array.from(splitLayers(await readNumLayers(options.modelPath), numDevices));
  return await addon.open({ ...rest, layerDevices });
}

const Decoder = z.looseObject({ num_hidden_layers: z.int().positive() }).optional();
const ConfigFile = z.looseObject({ llm_config: Decoder, text_config: Decoder });

/** Decoder layers of a checkpoint of either layout; the addon checks the rest of config.json. */
async function readNumLayers(modelPath: string): Promise<number> {
  const path = `${modelPath}/config.json`;
  const config = await readCheckpointJson(path, ConfigFile);
  const decoder = config.llm_config ?? config.text_config;
  if (decoder === undefined) throw new Error(`Cannot open ${path}: no num_hidden_layers, expected a decoder's`);
  return decoder.num_hidden_layers;
}

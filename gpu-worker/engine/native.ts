/** Owns opening the engine's addon: the only file of the worker that does. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { addonPath as builtAddonPath } from "@tessera/native";
import type { Engine, EngineOptions } from "./types.ts";

/** What the addon exports. Its handles keep the contract of `Engine`, rejections included. */
interface Addon {
  open(options: EngineOptions): Promise<Engine>;
}

const require = createRequire(import.meta.url);

/** Opens a checkpoint on the native engine; takes as long as reading the weights does. */
export async function openNativeEngine(options: EngineOptions, addonPath: string = builtAddonPath): Promise<Engine> {
  if (!existsSync(addonPath)) {
    throw new Error(`Cannot open the engine: ${addonPath} is missing, expected it built (deno task build:native)`);
  }
  const addon = require(addonPath) as Addon;
  return await addon.open(options);
}

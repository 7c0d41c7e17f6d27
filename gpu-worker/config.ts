/** Owns the facts of a checkpoint that its weights do not tell: name, tiling, system text, ids that end an answer. */
import { basename, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { findInternVL3, GenerationDefaults, INTERNVL3_ORGANISATION } from "@tessera/shared";
import { z } from "zod";
import { readCheckpointJson } from "./checkpoint_file.ts";
import type { EngineInfo } from "./engine/types.ts";
import { CONTROL_TOKENS, DEFAULT_SYSTEM_TEXT } from "./prompt/template.ts";
import type { Tokenizer } from "./prompt/tokenizer.ts";

const TEMPLATE = "internvl2_5";

const Ids = z.union([z.int(), z.array(z.int())]).nullish().transform((ids) =>
  typeof ids === "number" ? [ids] : ids ?? []
);
const Language = z.looseObject({ eos_token_id: Ids });
/** A file's own nonsense is no reason not to serve its weights: what is out of range counts as absent. */
const GenerationFile = z.looseObject({
  eos_token_id: Ids,
  do_sample: GenerationDefaults.shape.do_sample.catch(false),
  temperature: GenerationDefaults.shape.temperature.catch(null),
  top_p: GenerationDefaults.shape.top_p.catch(null),
  top_k: GenerationDefaults.shape.top_k.catch(null),
  repetition_penalty: GenerationDefaults.shape.repetition_penalty.catch(null),
  max_new_tokens: GenerationDefaults.shape.max_new_tokens.catch(null),
});
const ConfigFile = z.looseObject({
  template: z.string().nullish(),
  system_message: z.string().nullish(),
  min_dynamic_patch: z.int().positive().nullish(),
  max_dynamic_patch: z.int().positive().nullish(),
  use_thumbnail: z.boolean().nullish(),
  eos_token_id: Ids,
  llm_config: Language.optional(),
  text_config: Language.optional(),
});
/** The transformers-native layout has the tiling here. */
const PreprocessorFile = z.looseObject({
  min_patches: z.int().positive().nullish(),
  max_patches: z.int().positive().nullish(),
});

/** What the worker knows of its model. */
export interface ModelFacts {
  readonly name: string;
  /** Unix seconds. */
  readonly created: number;
  readonly minTiles: number;
  readonly maxTiles: number;
  readonly thumbnail: boolean;
  readonly tileSize: number;
  readonly tokensPerTile: number;
  readonly systemText: string;
  readonly eosIds: ReadonlySet<number>;
  readonly generation: GenerationDefaults;
}

/** Folder of a checkpoint given as a folder, or as a name under `pretrained` (where `tessera pull` puts it) or `models`. */
export async function findCheckpoint(model: string): Promise<string> {
  const known = findInternVL3(model);
  const name = known?.name ?? model;
  const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
  const folders = [
    resolve(model),
    resolve("pretrained", name),
    here(`../pretrained/${name}`),
    here(`./models/${name}`),
  ];
  for (const folder of folders) {
    const stat = await Deno.stat(`${folder}/config.json`).catch(() => null);
    if (stat?.isFile) return folder;
  }
  const looked = [...new Set(folders)].join(", ");
  const pull = known === undefined ? "" : `. Fetch it: deno task tessera pull ${INTERNVL3_ORGANISATION}/${known.name}`;
  throw new Error(`Cannot find checkpoint ${model}: no config.json in ${looked}${pull}`);
}

/** Name by which the fleet knows a checkpoint, its queues with it. */
export function modelName(folder: string): string {
  return basename(folder);
}

/**
 * Reads the facts of a checkpoint.
 * @throws Error when it is of a kind we cannot prompt
 */
export async function readModelFacts(
  folder: string,
  info: Pick<EngineInfo, "tileSize" | "tokensPerTile" | "vocabSize">,
  tokenizer: Tokenizer,
): Promise<ModelFacts> {
  const config = await readCheckpointJson(`${folder}/config.json`, ConfigFile);
  const generation = await readCheckpointJson(`${folder}/generation_config.json`, GenerationFile, {});
  const preprocessor = await readCheckpointJson(`${folder}/preprocessor_config.json`, PreprocessorFile, {});
  const template = config.template ?? TEMPLATE;
  if (template !== TEMPLATE) {
    throw new Error(`Cannot use checkpoint ${folder}: chat template ${template}, expected ${TEMPLATE}`);
  }
  const eosIds = new Set([
    ...generation.eos_token_id,
    ...config.eos_token_id,
    ...(config.llm_config?.eos_token_id ?? []),
    ...(config.text_config?.eos_token_id ?? []),
    tokenizer.controlId(CONTROL_TOKENS.turnEnd),
  ]);
  for (const token of Object.values(CONTROL_TOKENS)) {
    const id = tokenizer.controlId(token);
    if (id >= info.vocabSize) {
      throw new Error(`Cannot use checkpoint ${folder}: ${token} is ${id}, expected less than ${info.vocabSize}`);
    }
  }
  if (tokenizer.promptIds > info.vocabSize) {
    throw new Error(
      `Cannot use checkpoint ${folder}: the tokenizer's ids go up to ${tokenizer.promptIds - 1}, expected less than ` +
        `${info.vocabSize}, the model's vocabulary`,
    );
  }
  const minTiles = config.min_dynamic_patch ?? preprocessor.min_patches ?? 1;
  const maxTiles = config.max_dynamic_patch ?? preprocessor.max_patches ?? 12;
  if (minTiles > maxTiles) {
    throw new Error(`Cannot use checkpoint ${folder}: at least ${minTiles} tiles, expected at most ${maxTiles}`);
  }
  const modified = (await Deno.stat(`${folder}/config.json`)).mtime;
  return {
    name: modelName(folder),
    created: Math.floor((modified?.getTime() ?? 0) / 1_000),
    minTiles,
    maxTiles,
    thumbnail: config.use_thumbnail ?? true,
    tileSize: info.tileSize,
    tokensPerTile: info.tokensPerTile,
    systemText: config.system_message || DEFAULT_SYSTEM_TEXT,
    eosIds,
    // Without the fields that it does not have.
    generation: GenerationDefaults.parse(generation),
  };
}

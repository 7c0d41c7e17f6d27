/** Owns the goldens' layout: committed tokenizers, blocks of lines, and a hash of the ids of each block. */
import { sha256Hex } from "@tessera/shared";
import { ROOT } from "../../../infra/tools/paths.ts";

export const HERE = `${ROOT}/tests/golden/tokenizer`;
export const GOLDENS_PATH = `${HERE}/goldens.json`;
export const COMMITTED = ["qwen2", "sentencepiece-internlm3", "sentencepiece-few"] as const;
export const TEST_SEED = 3;
/** Lines in a block. */
export const BLOCK = 50;

export interface Goldens {
  /** Hash of the scripts they were made with. */
  readonly sources: string;
  /** For each committed tokenizer the hash of each block's ids, by transformers. */
  readonly blocks: Record<string, string[]>;
}

/** @param lines ids of each line */
export function hashIds(lines: readonly (readonly number[])[]): Promise<string> {
  return hash(JSON.stringify(lines));
}

/** Hash of everything the goldens depend on. */
export async function sourcesHash(): Promise<string> {
  const names = ["corpus.ts", "train.py", "reference.py", "requirements.txt"];
  const texts = await Promise.all(names.map((name) => Deno.readTextFile(`${HERE}/${name}`)));
  return await hash(texts.join("\0"));
}

async function hash(text: string): Promise<string> {
  return (await sha256Hex(new TextEncoder().encode(text))).slice(0, 16);
}

/** Owns a small repository, a folder to pull it to, and pulls with short waits. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { pull, type Pulled, type PullOptions } from "../../infra/hub/pull.ts";
import { FakeHub, ID } from "./fake_hub.ts";

export { ID };

export const SHARD_1 = "model-00001-of-00002.safetensors";
export const SHARD_2 = "model-00002-of-00002.safetensors";

/** Bytes that differ from place to place. */
export function noise(size: number, seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length: size }, () => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) >>> 24);
}

const text = (value: string) => new TextEncoder().encode(value);

/** What a published repository holds: much of it is not needed. */
export function repositoryFiles(): Record<string, Uint8Array> {
  return {
    "config.json": text('{"model_type":"internvl_chat"}'),
    [SHARD_1]: noise(700_000, 1),
    [SHARD_2]: noise(300_000, 2),
    "model.safetensors.index.json": text('{"weight_map":{}}'),
    "pytorch_model.bin": noise(1_000, 3),
    "modeling_internvl_chat.py": text("import torch"),
    "examples/image1.jpg": noise(100, 4),
    "vocab.json": text("{}"),
    "merges.txt": text("#version: 0.2\n"),
    "tokenizer_config.json": text("{}"),
    "generation_config.json": text("{}"),
    "LICENSE": text("Apache"),
    ".gitattributes": text("*.safetensors lfs"),
  };
}

export const NEEDED = [
  "LICENSE",
  "config.json",
  "generation_config.json",
  "merges.txt",
  SHARD_1,
  SHARD_2,
  "model.safetensors.index.json",
  "tokenizer_config.json",
  "vocab.json",
];

export interface Scene {
  readonly hub: FakeHub;
  readonly folder: string;
  /** What the pulls printed. */
  readonly printed: string[];
  pull(options?: Partial<PullOptions>): Promise<Pulled>;
  /** The names in the folder; and that each file is whole. */
  check(): Promise<void>;
  read(path: string): Promise<Uint8Array>;
  /** Names of the parts. */
  parts(): Promise<string[]>;
}

export async function scene(
  test: (scene: Scene) => Promise<void>,
  files: Record<string, Uint8Array> = repositoryFiles(),
): Promise<void> {
  const hub = await FakeHub.start(files);
  const root = await Deno.makeTempDir();
  const folder = `${root}/InternVL3-1B`;
  const printed: string[] = [];
  const list = async (path: string) => {
    const names: string[] = [];
    for await (const { name } of Deno.readDir(path)) names.push(name);
    return names.sort();
  };
  try {
    await test({
      hub,
      folder,
      printed,
      pull: (options = {}) =>
        pull({
          hub: { endpoint: hub.endpoint, token: null },
          repository: ID,
          revision: "main",
          target: folder,
          jobs: 3,
          verify: false,
          signal: new AbortController().signal,
          sink: { isTerminal: false, columns: 80, write: (line) => printed.push(line) },
          waits: { stallMs: 500, firstPauseMs: 1 },
          ...options,
        }),
      check: async () => {
        assert.deepEqual((await list(folder)).filter((name) => name !== ".pull"), NEEDED);
        for (const name of NEEDED) {
          assert.ok(Buffer.from(await Deno.readFile(`${folder}/${name}`)).equals(hub.files.get(name)!), name);
        }
        assert.deepEqual((await list(`${folder}/.pull`)).filter((name) => name.endsWith(".part")), []);
      },
      read: (path) => Deno.readFile(`${folder}/${path}`),
      parts: async () => (await list(`${folder}/.pull`)).filter((name) => name.endsWith(".part")),
    });
  } finally {
    await hub.close();
    await Deno.remove(root, { recursive: true });
  }
}

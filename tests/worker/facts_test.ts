/** What a worker reads before it serves: checkpoint facts, server lists, the device. */
import assert from "node:assert/strict";
import { GREEDY, silentLogger } from "@tessera/shared";
import { findCheckpoint, readModelFacts } from "../../gpu-worker/config.ts";
import { openChosenEngine } from "../../gpu-worker/engine/select.ts";
import type { EngineOptions } from "../../gpu-worker/engine/types.ts";
import { DEFAULT_SYSTEM_TEXT } from "../../gpu-worker/prompt/template.ts";
import { Tokenizer } from "../../gpu-worker/prompt/tokenizer.ts";
import type { Vocabulary } from "../../gpu-worker/prompt/vocabulary.ts";
import { FakeEngine } from "../support/fake_engine.ts";
import { ADDED, handmadeTokenizer } from "./handmade_tokenizer.ts";

const NO_TEXT: Omit<Vocabulary, "size"> = { *encode() {}, bytesOf: () => new Uint8Array(0) };
const INFO = { tileSize: 448, tokensPerTile: 256, vocabSize: 1_000 };

async function withCheckpoint(files: Record<string, unknown>, test: (folder: string) => Promise<void>): Promise<void> {
  const root = await Deno.makeTempDir();
  const folder = `${root}/InternVL3-0B`;
  await Deno.mkdir(folder);
  try {
    for (const [name, content] of Object.entries(files)) {
      await Deno.writeTextFile(`${folder}/${name}`, JSON.stringify(content));
    }
    await test(folder);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("facts: the original layout", () =>
  withCheckpoint({
    "config.json": {
      template: "internvl2_5",
      min_dynamic_patch: 2,
      max_dynamic_patch: 6,
      use_thumbnail: false,
      llm_config: { eos_token_id: 11 },
    },
    "generation_config.json": { eos_token_id: [12, 13], do_sample: true, temperature: 0.7, top_k: 20, top_p: "none" },
  }, async (folder) => {
    const { created, ...facts } = await readModelFacts(folder, INFO, handmadeTokenizer());
    assert.ok(Math.abs(created - Date.now() / 1_000) < 60);
    assert.deepEqual(facts, {
      name: "InternVL3-0B",
      minTiles: 2,
      maxTiles: 6,
      thumbnail: false,
      tileSize: 448,
      tokensPerTile: 256,
      systemText: DEFAULT_SYSTEM_TEXT,
      eosIds: new Set([12, 13, 11, ADDED["<|im_end|>"]]),
      generation: { ...GREEDY, do_sample: true, temperature: 0.7, top_k: 20 },
    });
  }));

Deno.test("facts: the transformers layout, and what is missing", () =>
  withCheckpoint({
    "config.json": { text_config: { eos_token_id: 11 } },
    "preprocessor_config.json": { min_patches: 1, max_patches: 9 },
  }, async (folder) => {
    const facts = await readModelFacts(folder, INFO, handmadeTokenizer());
    assert.equal(facts.maxTiles, 9);
    assert.equal(facts.thumbnail, true);
    assert.deepEqual(facts.eosIds, new Set([11, ADDED["<|im_end|>"]]));
    assert.deepEqual(facts.generation, GREEDY);
  }));

Deno.test("facts: a template or vocabulary that is not ours is refused", async () => {
  await withCheckpoint({ "config.json": { template: "other" } }, async (folder) => {
    await assert.rejects(
      readModelFacts(folder, INFO, handmadeTokenizer()),
      /chat template other, expected internvl2_5/,
    );
  });
  await withCheckpoint({ "config.json": {} }, async (folder) => {
    const info = { ...INFO, vocabSize: 900 };
    await assert.rejects(readModelFacts(folder, info, handmadeTokenizer()), /is 90\d, expected less than 900/);
  });
});

Deno.test("facts: ids beyond the model's vocabulary, and files of another form, are refused by name", async () => {
  const added = Object.entries(ADDED).map(([content, id]) => ({ id, content, special: true }));
  const tokenizerOf = (vocabulary: number, markId: number) =>
    new Tokenizer({ ...NO_TEXT, size: vocabulary }, [...added, { id: markId, content: "<box>", special: true }]);
  const refuses = (files: Record<string, unknown>, text: RegExp, tokenizer = handmadeTokenizer()) =>
    withCheckpoint(files, (folder) => assert.rejects(readModelFacts(folder, INFO, tokenizer), text));
  const plain = { "config.json": {} };
  await refuses(plain, /ids go up to 1000, expected less than 1000/, tokenizerOf(1_001, 5));
  await refuses(plain, /ids go up to 1000, expected less than 1000/, tokenizerOf(900, 1_000));
  await refuses({ "config.json": { template: 5 } }, /config\.json: template: .*expected string/);
  await refuses({ ...plain, "generation_config.json": { eos_token_id: "x" } }, /generation_config\.json: eos_token_id/);
  await refuses(
    { "config.json": { min_dynamic_patch: 9, max_dynamic_patch: 3 } },
    /at least 9 tiles, expected at most 3/,
  );
});

Deno.test("facts: a checkpoint is found by folder or by name", async () => {
  assert.match(await findCheckpoint("internvl3-tiny"), /gpu-worker\/models\/internvl3-tiny$/);
  await withCheckpoint({ "config.json": {} }, async (folder) => assert.equal(await findCheckpoint(folder), folder));
  await assert.rejects(findCheckpoint("none-such"), /Cannot find checkpoint none-such/);
});

Deno.test("device: auto takes a GPU that works, else the CPU; a wish is not changed", async () => {
  const opened: string[] = [];
  const open = (isBroken: boolean) => ({ device, dtype }: EngineOptions) => {
    opened.push(`${device} ${dtype}`);
    if (device === "cuda" && isBroken) return Promise.reject(new Error("no such GPU"));
    return Promise.resolve(new FakeEngine({ info: { device } }));
  };
  const base = { modelPath: ".", dtype: "auto", numThreads: 1, kvCacheBytes: 1, numTileSlots: 1 } as const;
  const choose = (device: "auto" | "cpu" | "cuda", hasGpu: boolean, isBroken = false) =>
    openChosenEngine({ ...base, device }, open(isBroken), silentLogger, () => Promise.resolve(hasGpu));
  assert.equal((await choose("auto", false)).info.device, "cpu");
  assert.equal((await choose("auto", true)).info.device, "cuda");
  assert.equal((await choose("auto", true, true)).info.device, "cpu");
  assert.equal((await choose("cpu", true)).info.device, "cpu");
  await assert.rejects(choose("cuda", true, true), /no such GPU/);
  assert.deepEqual(opened, ["cpu bf16", "cuda bf16", "cuda bf16", "cpu bf16", "cpu bf16", "cuda bf16"]);
});

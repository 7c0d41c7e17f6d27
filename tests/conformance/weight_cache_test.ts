/** Owns the proof that weights from the cache give the bits of freshly packed ones, for processes that open at once too. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Dtype } from "../../gpu-worker/engine/types.ts";
import { chooseWeightCache } from "../../gpu-worker/engine/caches.ts";
import { writeAwqCheckpoint } from "../support/awq_checkpoint.ts";
import { EngineDriver, textPrompt } from "../support/engine_driver.ts";
import { nativeTest } from "../support/golden_engine.ts";
import { type Golden, loadGoldens } from "../support/goldens.ts";
import { openNative } from "../support/native_engine.ts";
import { wholeBlocks } from "../support/quantise.ts";
import { writeRandomCheckpoint } from "../support/random_checkpoint.ts";

const OPENER = new URL("../support/open_engine_main.ts", import.meta.url).pathname;
const goldens = loadGoldens();
const golden = (name: string): Golden => goldens.find((one) => one.name === name)!;

interface Opened {
  readonly weightCache: string;
  readonly rows: Float32Array[];
}

async function openOnce(modelPath: string, dtype: Dtype, folder?: string, numDevices = 1): Promise<Opened> {
  const engine = await openNative({
    modelPath,
    device: "cpu",
    dtype,
    numThreads: 2,
    kvCacheBytes: 2 ** 24,
    numTileSlots: 1,
    numDevices,
    ...(folder === undefined ? {} : { weightCache: { folder, maxBytes: 2 ** 30 } }),
  });
  try {
    const driver = new EngineDriver(engine);
    const sequence = driver.add(textPrompt(Array.from({ length: 40 }, (_, i) => (7 * i + 3) % engine.info.vocabSize)));
    const [rows] = await driver.logits([{ sequence, numTokens: 40 }]);
    await engine.encodeTiles(new Uint8Array(engine.info.tileSize ** 2 * 3).fill(90), Int32Array.of(0));
    return { weightCache: engine.info.weightCache, rows: [...rows!, await engine.tileEmbeddings(Int32Array.of(0))] };
  } finally {
    await engine.close();
  }
}

/** Runs `use` with a checkpoint and an empty folder beside it. */
async function withFolders(
  write: (modelPath: string) => Promise<unknown>,
  use: (model: string, cache: string) => Promise<void>,
) {
  const folder = await mkdtemp(join(tmpdir(), "tessera-kept-"));
  try {
    const model = join(folder, "model");
    await Deno.mkdir(model);
    await write(model);
    await use(model, join(folder, "cache"));
  } finally {
    await rm(folder, { recursive: true });
  }
}

const MODELS = [wholeBlocks(golden("base")), golden("base"), golden("tied_head"), golden("vision_6b")];

for (const { name, config, seed } of MODELS) {
  nativeTest(
    `${name}: kept weights give the bits of packed ones, in every type and over two devices`,
    () =>
      withFolders((model) => writeRandomCheckpoint(model, { config, seed }), async (model, cache) => {
        for (const dtype of ["bf16", "fp16", "fp32", "int8", "nf4", "fp4"] as const) {
          const { rows } = await openOnce(model, dtype);
          assert.deepEqual(await openOnce(model, dtype, cache), { weightCache: "written", rows });
          assert.deepEqual(await openOnce(model, dtype, cache), { weightCache: "read", rows });
          assert.deepEqual(await openOnce(model, dtype, cache, 2), { weightCache: "read", rows });
        }
        assert.equal((await readdir(cache)).length, 6);
      }),
  );
}

nativeTest("awq: kept weights give the bits of packed ones", () => {
  const { config, seed } = wholeBlocks(golden("base"));
  return withFolders((model) => writeAwqCheckpoint(model, { config, seed, group: 64 }), async (model, cache) => {
    for (const dtype of ["bf16", "fp16"] as const) {
      const { rows } = await openOnce(model, dtype);
      assert.deepEqual(await openOnce(model, dtype, cache), { weightCache: "written", rows });
      assert.deepEqual(await openOnce(model, dtype, cache), { weightCache: "read", rows });
    }
  });
});

nativeTest("processes that open at once: one packs, all have the same bits", () => {
  const { config, seed } = wholeBlocks(golden("base"));
  return withFolders((model) => writeRandomCheckpoint(model, { config, seed }), async (model, cache) => {
    const open = async (): Promise<{ weightCache: string; hash: string }> => {
      const args = ["run", "--allow-all", "--no-check", OPENER, JSON.stringify({ modelPath: model, folder: cache })];
      const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
      assert.ok(success, new TextDecoder().decode(stderr));
      return JSON.parse(new TextDecoder().decode(stdout));
    };
    const opened = await Promise.all([open(), open(), open()]);
    assert.deepEqual(opened.map(({ weightCache }) => weightCache).sort(), ["read", "read", "written"]);
    assert.equal(new Set(opened.map(({ hash }) => hash)).size, 1);
    assert.equal((await readdir(cache)).length, 1);
  });
});

Deno.test("a worker keeps weights of large checkpoints only, where it is told", () =>
  withFolders(() => Promise.resolve(), async (model) => {
    const settings = { TESSERA_WEIGHT_CACHE: "auto", TESSERA_WEIGHT_CACHE_MB: 2, TESSERA_DATA_DIR: "/data" };
    assert.equal(await chooseWeightCache(settings, model), undefined);
    assert.equal(await chooseWeightCache(settings, join(model, "nowhere")), undefined);
    await Deno.writeFile(join(model, "model.safetensors"), new Uint8Array(0));
    await Deno.truncate(join(model, "model.safetensors"), 100 * 2 ** 20);
    const choose = (more: Partial<typeof settings>) => chooseWeightCache({ ...settings, ...more }, model);
    assert.deepEqual(await choose({}), { folder: "/data/weights", maxBytes: 2 * 2 ** 20 });
    assert.equal(await choose({ TESSERA_WEIGHT_CACHE: "off" }), undefined);
    assert.equal((await choose({ TESSERA_WEIGHT_CACHE: "/else" }))?.folder, "/else");
    const root = new URL("../..", import.meta.url).pathname;
    assert.equal((await choose({ TESSERA_DATA_DIR: ".tessera" }))?.folder, join(root, ".tessera/weights"));
  }));

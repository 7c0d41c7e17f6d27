/** Owns measuring an engine against a random configuration's golden: logits, greedy ids, and the tower layer by layer. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Dtype, Engine } from "../../gpu-worker/engine/types.ts";
import { EngineDriver } from "./engine_driver.ts";
import { cosine, relativeError } from "./errors.ts";
import { keptRows } from "./golden_engine.ts";
import { driverPrompt, encodeGoldenTiles, type FamilyGolden, goldenRows, type LayerFeatures } from "./goldens.ts";
import { openNative } from "./native_engine.ts";
import { writeRandomCheckpoint } from "./random_checkpoint.ts";

/** What is true of every configuration, with the reason in tests/golden/engine/README.md. */
export const LIMITS = { fp32Error: 1e-4, layerError: 1e-4, bf16Cosine: 0.9995 } as const;

/** How far an engine is from transformers. */
export interface FamilyReport {
  /** Largest error of a kept row of fp32 logits, relative to the row. */
  readonly logitError: number;
  /** Ids until the first that differs, of prefills whole and in chunks of 7. */
  readonly sameIds: number;
  readonly numIds: number;
  /** Smallest cosine of a kept row of bf16 logits. */
  readonly bf16Cosine: number;
  /** [layers + 1] largest error of the tower's features, relative to their largest, when the tower ends there. */
  readonly layerErrors: readonly number[];
}

/** Opens engines on one folder and closes them. */
class Folder {
  constructor(readonly path: string, readonly golden: FamilyGolden) {}

  async with<T>(dtype: Dtype, use: (engine: Engine) => Promise<T>): Promise<T> {
    const engine = await openNative({
      modelPath: this.path,
      device: "cpu",
      dtype,
      numThreads: 2,
      kvCacheBytes: 4 * 2 ** 20,
      numTileSlots: 4,
    });
    try {
      return await use(engine);
    } finally {
      await engine.close();
    }
  }

  async selectLayer(layer: number): Promise<void> {
    await writeFile(join(this.path, "config.json"), JSON.stringify({ ...this.golden.config, select_layer: layer }));
  }
}

async function withFolder<T>(golden: FamilyGolden, use: (folder: Folder) => Promise<T>): Promise<T> {
  const path = await mkdtemp(join(tmpdir(), "tessera-family-"));
  try {
    await writeRandomCheckpoint(path, { config: golden.config, seed: golden.seed });
    return await use(new Folder(path, golden));
  } finally {
    await rm(path, { recursive: true });
  }
}

/** Rows that the golden keeps, and ids from greedy decoding behind each way to prefill. */
async function run(engine: Engine, golden: FamilyGolden, chunks: readonly number[]) {
  const slots = await encodeGoldenTiles(engine, golden);
  const driver = new EngineDriver(engine);
  const expected = golden.prompts[0]!;
  const prompt = driverPrompt(golden, expected, slots);
  const rows = await keptRows(driver, prompt, expected);
  const ids: number[][] = [];
  for (const chunk of chunks) ids.push(await driver.generate(prompt, expected.greedy_ids.length, {}, chunk));
  return { rows, ids };
}

function layerError(features: Float32Array, expected: LayerFeatures): number {
  if ("f32" in expected) return relativeError(features, join32(goldenRows(expected)));
  const values = join32(goldenRows(expected.values));
  return relativeError(Float32Array.from(expected.index, (i) => features[i]!), values, expected.scale);
}

function join32(rows: readonly Float32Array[]): Float32Array {
  return Float32Array.from(rows.flatMap((row) => [...row]));
}

/** Runs a golden's checkpoint in fp32 and bf16, and its tower once for every layer it could end with. */
export function measureFamily(golden: FamilyGolden): Promise<FamilyReport> {
  return withFolder(golden, async (folder) => {
    const expected = golden.prompts[0]!;
    const logits = goldenRows(expected.logits);
    const fp32 = await folder.with("fp32", (engine) => run(engine, golden, [Infinity, 7]));
    const bf16 = await folder.with("bf16", (engine) => run(engine, golden, []));
    const firstDifferent = fp32.ids.map((ids) => ids.findIndex((id, i) => id !== expected.greedy_ids[i]));
    const numIds = expected.greedy_ids.length;
    const layerErrors: number[] = [];
    for (const [layer, features] of golden.layer_features.entries()) {
      await folder.selectLayer(layer);
      layerErrors.push(
        await folder.with("fp32", async (engine) => {
          const [slot] = await encodeGoldenTiles(engine, { ...golden, num_tiles: 1 });
          return layerError(await engine.tileEmbeddings(Int32Array.of(slot!)), features);
        }),
      );
    }
    return {
      logitError: Math.max(...logits.map((row, i) => relativeError(fp32.rows[i]!, row))),
      sameIds: Math.min(...firstDifferent.map((at) => at === -1 ? numIds : at)),
      numIds,
      bf16Cosine: Math.min(...logits.map((row, i) => cosine(bf16.rows[i]!, row))),
      layerErrors,
    };
  });
}

/** One line for people. */
export function describeReport({ name, kind }: FamilyGolden, report: FamilyReport): string {
  const layers = report.layerErrors.map((error) => error.toExponential(1)).join(" ");
  return `${name} (${kind}): fp32 logits ${
    report.logitError.toExponential(1)
  }, ${report.sameIds} of ${report.numIds} ` +
    `ids, bf16 cosine ${report.bf16Cosine.toFixed(5)}, tower by layer ${layers}`;
}

/** What a report breaks; nothing where all is within `LIMITS`. */
export function faults(report: FamilyReport): string[] {
  const out: string[] = [];
  if (!(report.logitError <= LIMITS.fp32Error)) out.push(`fp32 logits are ${report.logitError} off`);
  if (report.sameIds !== report.numIds) out.push(`greedy ids differ from the ${report.sameIds}th on`);
  if (!(report.bf16Cosine >= LIMITS.bf16Cosine)) out.push(`a bf16 row has cosine ${report.bf16Cosine}`);
  report.layerErrors.forEach((error, layer) => {
    if (!(error <= LIMITS.layerError)) out.push(`the tower's hidden state ${layer} is ${error} off`);
  });
  return out;
}

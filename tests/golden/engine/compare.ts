/**
 * Owns the live comparisons of the engine with the pinned transformers: fresh random configurations of the seven models,
 * and one run at the true shape of the 1B.
 */
import { ensureTransformers } from "../../../infra/tools/python.ts";
import type { Dtype } from "../../../gpu-worker/engine/types.ts";
import { randomTile } from "../../support/counter_random.ts";
import { EngineDriver } from "../../support/engine_driver.ts";
import { cosine, relativeError } from "../../support/errors.ts";
import { describeReport, faults, LIMITS, measureFamily } from "../../support/family_parity.ts";
import { type FamilyGolden, type GoldenArray, goldenRows } from "../../support/goldens.ts";
import { openNative } from "../../support/native_engine.ts";

/** Runs a script of this folder to its end. */
async function python(script: string, args: readonly string[]): Promise<void> {
  const path = new URL(script, import.meta.url).pathname;
  const { success } = await new Deno.Command(await ensureTransformers(), { args: [path, ...args] }).spawn().status;
  if (!success) throw new Error(`Cannot compare: ${script} failed, expected it to finish`);
}

/** Compares `count` configurations drawn from `seed` on; says how near each is. */
export async function compareEngine(count: number, seed: number): Promise<boolean> {
  const file = await Deno.makeTempFile();
  try {
    await python("make_families.py", ["--fresh", String(seed), String(count), file]);
    const goldens: FamilyGolden[] = (await Deno.readTextFile(file)).split("\n").map((line) => JSON.parse(line));
    let numBad = 0;
    for (const golden of goldens) {
      const report = await measureFamily(golden);
      console.log(describeReport(golden, report));
      for (const fault of faults(report)) console.error(`FAULT ${fault}`);
      numBad += Number(faults(report).length > 0);
    }
    console.log(`${goldens.length} configurations from seed ${seed}: ${numBad} beyond the limits`);
    return numBad === 0 && goldens.length === count;
  } finally {
    await Deno.remove(file);
  }
}

/** What transformers made of the true shape; see true_shape.py. */
interface Expected {
  readonly seed: number;
  readonly input_ids: readonly number[];
  readonly embedding_rows: readonly number[];
  readonly greedy_ids: readonly number[];
  /** Of each greedy id: its lead over the next, as a share of the largest logit. */
  readonly margins: readonly number[];
  readonly logit_positions: readonly number[];
  readonly logits: GoldenArray;
  readonly vision_features: GoldenArray;
}

/** An id is a choice where its lead is beyond what rounding moves. */
const CLEAR_MARGIN = 1e-4;

/** Compares fp32 and bf16 at the true shape of the 1B. Takes 8 GB of memory, 2 GB of disk and some minutes. */
export async function compareTrueShape(): Promise<boolean> {
  const folder = await Deno.makeTempDir();
  try {
    await python("true_shape.py", [folder]);
    const expected: Expected = JSON.parse(await Deno.readTextFile(`${folder}/expected.json`));
    const fp32 = await runTrueShape(folder, expected, "fp32");
    const bf16 = await runTrueShape(folder, expected, "bf16");
    const unclear = expected.margins.findIndex((margin) => margin < CLEAR_MARGIN);
    const numClear = unclear === -1 ? expected.margins.length : unclear;
    console.log(`greedy ids of fp32: ${fp32.sameIds} of ${expected.greedy_ids.length} (${numClear} are clear)`);
    return fp32.logitError <= LIMITS.fp32Error && fp32.featureError <= LIMITS.layerError &&
      fp32.sameIds >= numClear && bf16.cosine >= LIMITS.bf16Cosine;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function runTrueShape(modelPath: string, expected: Expected, dtype: Dtype) {
  const engine = await openNative({
    modelPath,
    device: "cpu",
    dtype,
    numThreads: 0,
    kvCacheBytes: 0,
    numTileSlots: 1,
  });
  try {
    await engine.encodeTiles(randomTile(expected.seed, 0, 448), Int32Array.of(0));
    const features = await engine.tileEmbeddings(Int32Array.of(0));
    const width = engine.info.hiddenSize;
    const driver = new EngineDriver(engine);
    const prompt = { tokenIds: expected.input_ids, embeddingRows: expected.embedding_rows };
    const sequence = driver.add(prompt);
    const [all] = await driver.logits([{ sequence, numTokens: expected.input_ids.length }]);
    driver.free(sequence);
    const wanted = goldenRows(expected.logits);
    const rows = expected.logit_positions.map((position) => all![position]!);
    const ids = await driver.generate(prompt, expected.greedy_ids.length);
    const different = ids.findIndex((id, i) => id !== expected.greedy_ids[i]);
    const result = {
      featureError: Math.max(
        ...goldenRows(expected.vision_features).map((row, i) =>
          relativeError(features.subarray(i * width, (i + 1) * width), row)
        ),
      ),
      logitError: Math.max(...wanted.map((row, i) => relativeError(rows[i]!, row))),
      cosine: Math.min(...wanted.map((row, i) => cosine(rows[i]!, row))),
      sameIds: different === -1 ? ids.length : different,
    };
    console.log(
      `${dtype}: tile features ${result.featureError.toExponential(1)}, logits ${result.logitError.toExponential(1)}, ` +
        `cosine ${result.cosine.toFixed(6)}`,
    );
    return result;
  } finally {
    await engine.close();
  }
}

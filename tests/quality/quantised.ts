/**
 * Prints what quantised weights cost in quality: how far next-token distributions move from bf16's, and how often the
 * greedy token stays. On the embedded model with the demonstration's pictures, and on layers of true shape.
 *
 *     deno run --allow-all tests/quality/quantised.ts
 */
import { findCheckpoint } from "../../gpu-worker/config.ts";
import type { Dtype, Engine } from "../../gpu-worker/engine/types.ts";
import { type ChatConfig, tinyConfig } from "../support/checkpoint_config.ts";
import { CounterStream, randomTile } from "../support/counter_random.ts";
import { argmax, type DriverPrompt, EngineDriver, textPrompt } from "../support/engine_driver.ts";
import { openNative, withNativeEngine } from "../support/native_engine.ts";
import { picturePrompts } from "../support/picture_prompts.ts";

/** How weights are held; bf16 comes first and is what the others are measured by. */
const HELD: readonly { readonly dtype: Dtype; readonly headDtype?: "int8" }[] = [
  { dtype: "bf16" },
  { dtype: "bf16", headDtype: "int8" },
  { dtype: "fp32" },
  { dtype: "int8" },
  { dtype: "int8", headDtype: "int8" },
  { dtype: "nf4" },
  { dtype: "nf4", headDtype: "int8" },
  { dtype: "fp4" },
];

/** A prompt with the tokens bf16 went on with. */
interface Continued {
  readonly prompt: DriverPrompt;
  readonly ids: readonly number[];
  /** Logits each id was chosen from. */
  readonly rows: readonly Float32Array[];
}

/** Logits at the places where `continued` has its ids. */
async function rowsAlong(driver: EngineDriver, { prompt, ids }: Continued): Promise<Float32Array[]> {
  const sequence = driver.add(prompt);
  for (const id of ids.slice(0, -1)) driver.append(sequence, id);
  const [rows] = await driver.logits([{ sequence, numTokens: sequence.tokenIds.length }]);
  driver.free(sequence);
  return rows!.slice(prompt.tokenIds.length - 1);
}

function logSoftmax(row: Float32Array): Float64Array {
  const max = row.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = row.reduce((total, x) => total + Math.exp(x - max), 0);
  return Float64Array.from(row, (x) => x - max - Math.log(sum));
}

/** Sum of p log(p / q), in nats. */
function divergence(p: Float32Array, q: Float32Array): number {
  const logQ = logSoftmax(q);
  return logSoftmax(p).reduce((total, logP, i) => total + Math.exp(logP) * (logP - logQ[i]!), 0);
}

/** One line of the table, along what bf16 said. */
async function measure(
  what: string,
  held: (typeof HELD)[number],
  engine: Engine,
  said: readonly Continued[],
): Promise<void> {
  const driver = new EngineDriver(engine);
  const moved: number[] = [];
  let numSame = 0;
  let numAnswers = 0;
  for (const continued of said) {
    const rows = await rowsAlong(driver, continued);
    rows.forEach((row, i) => {
      moved.push(divergence(continued.rows[i]!, row));
      numSame += Number(argmax(row) === continued.ids[i]);
    });
    const own = await driver.generate(continued.prompt, continued.ids.length);
    numAnswers += Number(own.every((id, i) => id === continued.ids[i]));
  }
  const mean = moved.reduce((a, b) => a + b, 0) / moved.length;
  const cells = [
    what,
    held.headDtype === undefined ? held.dtype : `${held.dtype}, ${held.headDtype} head`,
    (engine.info.weightBytes / 1e6).toFixed(2),
    mean.toExponential(1),
    Math.max(...moved).toExponential(1),
    `${(100 * numSame / moved.length).toFixed(1)} %`,
    `${numAnswers} of ${said.length}`,
  ];
  console.log(`| ${cells.join(" | ")} |`);
}

/** bf16's greedy answers of at most `count` tokens, ended by one of `eosIds`. */
async function answers(
  driver: EngineDriver,
  prompts: readonly DriverPrompt[],
  count: number,
  eosIds: ReadonlySet<number>,
): Promise<Continued[]> {
  const said: Continued[] = [];
  for (const prompt of prompts) {
    const { ids, rows } = await driver.generateTogether([prompt], count, [Infinity]);
    const end = ids[0]!.findIndex((id) => eosIds.has(id)) + 1 || count;
    said.push({ prompt, ids: ids[0]!.slice(0, end), rows: rows[0]!.slice(0, end) });
  }
  return said;
}

async function embeddedModel(): Promise<void> {
  const modelPath = await findCheckpoint("internvl3-tiny");
  let said: Continued[] = [];
  for (const held of HELD) {
    const engine = await openNative({
      modelPath,
      ...held,
      device: "cpu",
      numThreads: 2,
      kvCacheBytes: 2 ** 24,
      numTileSlots: 64,
    });
    const { prompts, eosIds } = await picturePrompts(engine, modelPath);
    if (held === HELD[0]) said = await answers(new EngineDriver(engine), prompts, 48, eosIds);
    await measure("internvl3-tiny", held, engine, said);
    await engine.close();
  }
}

/** A model with one or two layers of a published width, a small vocabulary and a small tile. */
async function trueShape(what: string, config: ChatConfig): Promise<void> {
  let said: Continued[] = [];
  for (const held of HELD) {
    await withNativeEngine({ config, seed: 1 }, held, async (engine) => {
      const { tileSize, tokensPerTile, vocabSize } = engine.info;
      await engine.encodeTiles(randomTile(1, 0, tileSize), Int32Array.of(0));
      const prompts = [1, 2, 3, 4].map((seed) => {
        const random = new CounterStream(seed, "prompt");
        const text = textPrompt(Array.from({ length: 24 }, (_, i) => random.integer(i, vocabSize)));
        const rows = Array.from({ length: tokensPerTile }, (_, row) => row);
        return {
          tokenIds: [...rows.map(() => 0), ...text.tokenIds],
          embeddingRows: [...rows, ...text.embeddingRows],
        };
      });
      if (held === HELD[0]) said = await answers(new EngineDriver(engine), prompts, 32, new Set());
      await measure(what, held, engine, said);
    });
  }
}

const TOWER = {
  hidden_size: 1024,
  num_attention_heads: 16,
  intermediate_size: 4096,
  patch_size: 14,
  num_hidden_layers: 1,
};

console.log("| model | dtype | weights, MB | mean KL, nats | largest KL | same greedy token | same answers |");
console.log("|---|---|---|---|---|---|---|");
await embeddedModel();
await trueShape(
  "layers of the 1B",
  tinyConfig({
    tileSize: 56,
    vision: TOWER,
    decoder: {
      hidden_size: 896,
      num_attention_heads: 14,
      num_key_value_heads: 2,
      intermediate_size: 4864,
      vocab_size: 2000,
    },
  }),
);
await trueShape(
  "layers of the 2B",
  tinyConfig({
    tileSize: 56,
    vision: TOWER,
    decoder: {
      hidden_size: 1536,
      num_attention_heads: 12,
      num_key_value_heads: 2,
      intermediate_size: 8960,
      num_hidden_layers: 1,
      vocab_size: 2000,
    },
  }),
);

/**
 * Measures on a GPU: `deno task bench:gpu`. Each kernel against the card's measured peaks, then the 1B and the 8B with random
 * weights in bf16, int8, NF4 and FP8, beside transformers in bf16 in the same run where a Python has it, with torch for CUDA.
 *
 * - `--python PATH` names that Python; `--models 1B,8B` and `--dtypes bf16,int8,nf4,fp8` choose.
 * - `--emulated` goes the same way with an emulated GPU and sizes that it manages; times mean nothing there.
 * - `--results FOLDER` is where the record goes, after each part.
 *
 * Exit code 0: all was measured; 1: something failed, the rest is recorded; 77: no GPU, nothing was run.
 */
import { parseArgs } from "node:util";
import { openNativeEngine } from "../../gpu-worker/engine/native.ts";
import type { Dtype, EngineOptions } from "../../gpu-worker/engine/types.ts";
import { dataDir } from "../../infra/tools/paths.ts";
import { findOnPath } from "../../infra/tools/process.ts";
import { ensureCheckpoint, trueConfig } from "../bench/engine/checkpoint.ts";
import { tinyConfig, tokensPerTile } from "../support/checkpoint_config.ts";
import { writeRandomCheckpoint } from "../support/random_checkpoint.ts";
import { rateTable, runKernelBench } from "./kernel_bench.ts";
import { type GpuMachine, ownArgs, requireMachine } from "./machine.ts";
import { measureModel, MODEL_SIZES, type ModelSizes, modelTable } from "./model_bench.ts";
import { hasTransformers, measurePeer } from "./peer.ts";
import { type Attempt, type BenchRecord, factsOf, record } from "./results.ts";

const SHAPES = ["1B", "8B"] as const;
const DTYPES = ["bf16", "int8", "nf4", "fp8"] as const satisfies readonly Dtype[];

/** A model to measure, and how. */
interface Subject {
  readonly name: string;
  readonly sizes: ModelSizes;
  readonly tokensPerTile: number;
  /** Share of the memory that is left which the KV cache takes. */
  readonly kvMemoryShare: number;
  /** Folder of its checkpoint. */
  open(): Promise<string>;
}

/** Sizes for the emulator: every part runs, in seconds. */
const SMALL_SIZES: ModelSizes = {
  tiles: [1, 2],
  promptTokens: 40,
  questionTokens: 8,
  decodeContext: 24,
  batches: [1, 2],
  steps: 3,
  rounds: 1,
};
/** Matrices in whole blocks of every type of weights. */
const SMALL_MODEL = tinyConfig({
  vision: { hidden_size: 64, num_attention_heads: 2, intermediate_size: 128, num_hidden_layers: 1 },
  decoder: { hidden_size: 128, num_attention_heads: 4, intermediate_size: 192, num_hidden_layers: 1 },
});

function choose<T extends string>(option: string, text: string | undefined, all: readonly T[]): readonly T[] {
  if (text === undefined) return all;
  const unknown = text.split(",").filter((name) => !all.some((each) => each === name));
  if (unknown.length > 0) throw new Error(`Cannot take ${option} ${text}: expected ${all.join(", ")}`);
  return all.filter((name) => text.split(",").includes(name));
}

async function measureEngine(
  { addon }: GpuMachine["built"],
  { sizes, kvMemoryShare }: Subject,
  options: Pick<EngineOptions, "modelPath" | "dtype">,
): Promise<Attempt> {
  try {
    const engine = await openNativeEngine({
      ...options,
      device: "cuda",
      numThreads: 0,
      kvCacheBytes: 0,
      kvMemoryShare,
      // As a worker opens it: memory for the largest step, the quickest algorithm of each product.
      maxStepTokens: Math.max(sizes.promptTokens, sizes.batches.at(-1)!),
      maxStepSequences: sizes.batches.at(-1)!,
      algorithmCache: `${dataDir()}/bench-gpu/algorithms`,
      numTileSlots: Math.max(...sizes.tiles),
    }, addon);
    return await measureModel(engine, sizes).finally(() => engine.close());
  } catch (error) {
    return { failed: error instanceof Error ? error.message : String(error) };
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: ownArgs(),
    options: {
      python: { type: "string" },
      models: { type: "string" },
      dtypes: { type: "string" },
      emulated: { type: "boolean", default: false },
      results: { type: "string" },
    },
  });
  const { emulated, results } = values;
  const shapes = choose("--models", values.models, SHAPES);
  const dtypes = choose("--dtypes", values.dtypes, DTYPES);
  const machine = await requireMachine("bench:gpu", { isEmulated: emulated, results, progress: console.log });
  const { card, built, env } = machine;
  // The engine is opened in this very process.
  for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
  console.log(`\n${card.name}, driver ${card.driver}, kernels by ${machine.compiler}\n`);
  const run: BenchRecord = { ...await factsOf(machine), kind: "bench", kernels: [], models: {} };
  run.kernels = await runKernelBench(built.bench, emulated ? ["--small"] : [], env);
  console.log(rateTable(run.kernels));
  let path = await record(run, machine.results);

  const device = emulated ? "cpu" : "cuda";
  const python = values.python ?? (emulated ? null : await findOnPath("python3"));
  const hasPeer = python !== null && await hasTransformers(python, device);
  if (!hasPeer) console.log("\nNo Python with transformers and torch for CUDA: that side is not measured (--python)");
  await using scratch = await temporaryFolder();
  const subjects: Subject[] = emulated
    ? [{
      name: "tiny",
      sizes: SMALL_SIZES,
      tokensPerTile: tokensPerTile(SMALL_MODEL),
      kvMemoryShare: 0.001,
      open: async () => {
        await writeRandomCheckpoint(scratch.path, { config: SMALL_MODEL, seed: 1, layout: "transformers_v5" });
        return scratch.path;
      },
    }]
    : shapes.map((name) => ({
      name,
      sizes: MODEL_SIZES,
      tokensPerTile: tokensPerTile(trueConfig(name)),
      kvMemoryShare: 0.9,
      open: () => ensureCheckpoint(name),
    }));
  for (const subject of subjects) {
    const modelPath = await subject.open();
    const attempts: Record<string, Attempt> = run.models[subject.name] = {};
    for (const dtype of dtypes) {
      attempts[dtype] = await measureEngine(built, subject, { modelPath, dtype });
      path = await record(run, machine.results);
    }
    if (hasPeer) {
      attempts["transformers"] = await measurePeer(python, modelPath, device, subject.sizes, subject.tokensPerTile);
    }
    path = await record(run, machine.results);
    console.log(`\n${subject.name}\n${modelTable(subject.sizes, attempts)}`);
  }
  console.log(`\nRecorded in ${path}`);
  const failures = Object.values(run.models).flatMap((attempts) => Object.entries(attempts))
    .filter(([who, figures]) => who !== "transformers" && "failed" in figures);
  return failures.length > 0 ? 1 : 0;
}

async function temporaryFolder() {
  const path = await Deno.makeTempDir({ prefix: "tessera-bench-gpu-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

if (import.meta.main) {
  Deno.exitCode = await main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    return 1;
  });
}

/**
 * Measures on a GPU: `deno task bench:gpu [--python path]`. Each kernel against the card's measured peaks, then the 1B and
 * the 8B with random weights in bf16, int8, NF4 and FP8, beside transformers in bf16 in the same run where that Python has
 * torch with CUDA. Exit code 77 where there is no GPU.
 */
import { buildAddon, buildDevicePrograms } from "@tessera/native";
import { parseArgs } from "node:util";
import { openNativeEngine } from "../../gpu-worker/engine/native.ts";
import { findOnPath, run } from "../../infra/tools/process.ts";
import { ensureCheckpoint, type TrueShape } from "../bench/engine/checkpoint.ts";
import type { Figures, Scenario } from "../bench/engine/side.ts";
import { TransformersSide } from "../bench/engine/transformers.ts";
import { archOf, requireGpu } from "./card.ts";
import { rateTable, runKernelBench } from "./kernel_bench.ts";
import { measureModel, type ModelFigures } from "./model_bench.ts";
import { factsOf, record } from "./results.ts";
import { requireToolkit } from "./toolkit.ts";

const { values } = parseArgs({ options: { python: { type: "string" } } });
const card = await requireGpu("bench:gpu");
const toolkit = await requireToolkit();
const archs = [archOf(card)];
const { bench } = await buildDevicePrograms({ toolkit, archs, progress: console.log });
await buildAddon({ cuda: { toolkit, archs }, progress: console.log });
console.log(`\n${card.name}, driver ${card.driver}\n`);
const kernels = await runKernelBench(bench);
console.log(rateTable(kernels));

const python = values.python ?? await findOnPath("python3");
const hasTorch = python !== null &&
  await run(python, ["-c", "import torch, transformers; assert torch.cuda.is_available()"]).then(
    () => true,
    () => false,
  );
if (!hasTorch) console.log("\nNo Python with transformers and torch for CUDA: that side is not measured (--python)");

/** transformers' answers to what ours measures. */
async function measurePeer(python: string, modelPath: string): Promise<Record<string, Figures>> {
  const side = await TransformersSide.open(python, modelPath, navigator.hardwareConcurrency, "cuda");
  const scenarios: Record<string, Scenario> = {
    tile: { kind: "vision" },
    tiles13: { kind: "vision", tiles: 13 },
    prompt: { kind: "text", context: 2_048, batch: 1, steps: 0, prefill: true },
    ...Object.fromEntries([1, 8, 64, 256].map((batch) => [
      `decode${batch}`,
      { kind: "text", context: 1_024, batch, steps: 32, prefill: false } as const,
    ])),
  };
  const figures: Record<string, Figures> = {};
  try {
    for (const [name, scenario] of Object.entries(scenarios)) {
      await side.measure(scenario);
      figures[name] = await side.measure(scenario);
    }
  } catch (error) {
    // A batch that its memory does not hold ends it; what it told before counts.
    console.log(`transformers: ${error instanceof Error ? error.message : error}`);
  } finally {
    await side.close();
  }
  return figures;
}

const models: Record<string, unknown> = {};
for (const shape of ["1B", "8B"] satisfies TrueShape[]) {
  const modelPath = await ensureCheckpoint(shape);
  const kvCacheBytes = Math.floor(card.memoryMiB * 2 ** 20 * (shape === "1B" ? 0.5 : 0.4));
  const ours: Record<string, ModelFigures> = {};
  for (const dtype of ["bf16", "int8", "nf4", "fp8"] as const) {
    const options = { modelPath, device: "cuda", dtype, numThreads: 0, kvCacheBytes, numTileSlots: 16 } as const;
    const engine = await openNativeEngine(options);
    ours[dtype] = await measureModel(engine).finally(() => engine.close());
    console.log(`\n${shape}, ${dtype}: ${JSON.stringify(ours[dtype], null, 2)}`);
  }
  const transformers = hasTorch ? await measurePeer(python!, modelPath) : null;
  models[shape] = { ours, transformers };
  console.log(`\n${shape}, transformers in bf16: ${JSON.stringify(transformers, null, 2)}`);
}
console.log(`\nRecorded in ${await record("bench", await factsOf(card, toolkit.version), { kernels, models })}`);

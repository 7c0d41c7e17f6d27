/** Owns transformers' answers to what the engine is measured on, on the same card. */
import { run } from "../../infra/tools/process.ts";
import type { Figures, Scenario } from "../bench/engine/side.ts";
import { TransformersSide } from "../bench/engine/transformers.ts";
import type { ModelSizes } from "./model_bench.ts";
import type { Attempt } from "./results.ts";

/** Whether this Python has transformers, with a torch that knows the device. */
export function hasTransformers(python: string, device: "cuda" | "cpu"): Promise<boolean> {
  const check = device === "cpu" ? "" : "; assert torch.cuda.is_available()";
  return run(python, ["-c", `import torch, transformers${check}`]).then(() => true, () => false);
}

/** In bf16, the second of two runs each; what its memory does not hold is left out. */
export async function measurePeer(
  python: string,
  modelPath: string,
  device: "cuda" | "cpu",
  sizes: ModelSizes,
  tokensPerTile: number,
): Promise<Attempt> {
  const text = { kind: "text", batch: 1, steps: 0, prefill: true } as const;
  const scenarios = new Map<string, Scenario>([
    ...sizes.tiles.map((tiles) => [`tiles ${tiles}`, { kind: "vision", tiles }] as const),
    ["prompt", { ...text, context: sizes.promptTokens }],
    ["question", { ...text, context: tokensPerTile + sizes.questionTokens }],
    ...sizes.batches.map((batch) =>
      [`decode ${batch}`, { ...text, context: sizes.decodeContext, batch, steps: sizes.steps, prefill: false }] as const
    ),
  ]);
  const figures = new Map<string, Figures>();
  let failed = "";
  try {
    const side = await TransformersSide.open(python, modelPath, navigator.hardwareConcurrency, device);
    try {
      for (const [name, scenario] of scenarios) {
        await side.measure(scenario);
        figures.set(name, await side.measure(scenario));
      }
    } finally {
      await side.close();
    }
  } catch (error) {
    // A batch that its memory does not hold ends it; what it told before counts.
    failed = error instanceof Error ? error.message : String(error);
    console.log(`transformers: ${failed}`);
  }
  if (figures.size === 0) return { failed };
  const visionMs = (tiles: number) => figures.get(`tiles ${tiles}`)?.visionMs;
  const [oneTileMs, question] = [visionMs(1), figures.get("question")?.prefill];
  return {
    msPerTile: defined(sizes.tiles, (tiles) => {
      const ms = visionMs(tiles);
      return ms === undefined ? undefined : ms / tiles;
    }),
    ...(figures.has("prompt") ? { prefillTokensPerSecond: figures.get("prompt")!.prefill! } : {}),
    decodeTokensPerSecond: defined(sizes.batches, (batch) => figures.get(`decode ${batch}`)?.decode),
    ...(oneTileMs === undefined || question === undefined
      ? {}
      : { firstTokenMs: oneTileMs + (tokensPerTile + sizes.questionTokens) / question * 1_000 }),
  };
}

function defined(keys: readonly number[], of: (key: number) => number | undefined): Record<string, number> {
  return Object.fromEntries(keys.flatMap((key) => {
    const value = of(key);
    return value === undefined ? [] : [[`${key}`, value]];
  }));
}

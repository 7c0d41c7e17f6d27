/** Plans as people read them: a table for each type of weights, and one line for each model. */
import { type Plan, type PlanRequest, tokensPerTile } from "./memory.ts";

export const gib = (bytes: number): string => (bytes / 2 ** 30).toFixed(1);
export const count = (value: number): string => value.toLocaleString("en-US");

/** Rows of cells as aligned columns, the first to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ").trimEnd()
  ).join("\n");
}

/** One type of weights on all GPUs, in GiB. */
export function planText(request: PlanRequest, plan: Plan): string {
  const { gpus } = plan;
  const row = (name: string, cell: (gpu: Plan["gpus"][number]) => string) => [name, ...gpus.map(cell)];
  const tower = plan.towerQuantisation === plan.quantisation ? "" : ` (vision tower ${plan.towerQuantisation})`;
  const lines = table([
    [`${plan.quantisation}${tower}`, ...gpus.map((_, gpu) => `GPU ${gpu}`)],
    row("  decoder layers", ({ layers }) => rangesText(layers)),
    row("  weights", (gpu) => gib(gpu.weightBytes)),
    row("  tile slots", (gpu) => gib(gpu.tileSlotBytes)),
    row("  activations", (gpu) => gib(gpu.activationBytes)),
    row("  driver and kernels", (gpu) => gib(gpu.runtimeBytes)),
    row(`  KV cache (${Math.round(request.kvShare * 100)} % of the rest)`, (gpu) => gib(gpu.kvRoomBytes)),
    row(`  KV of ${count(request.context)} tokens`, (gpu) => gib(gpu.kvTokenBytes * request.context)),
  ]);
  return `${lines}\n  ${verdict(request, plan)}`;
}

function verdict({ context, shape }: PlanRequest, plan: Plan): string {
  if (plan.fits) {
    return `fits: ${count(plan.kvTokens)} tokens of KV cache, ${plan.largestBatch} ` +
      `sequence${plan.largestBatch === 1 ? "" : "s"} of ${count(context)} at once, ` +
      `one of ${count(plan.largestContext)} alone`;
  }
  if (plan.largestContext > 0) {
    return `does not fit ${count(context)} tokens of ${shape.name}; one sequence of ${
      count(plan.largestContext)
    } would`;
  }
  const short = Math.max(...plan.gpus.map((gpu) => -gpu.kvRoomBytes));
  return `does not fit: a GPU is ${gib(short)} GiB short before the first token`;
}

/** What the plan rests on. */
export function requestText(request: PlanRequest): string {
  const { shape } = request;
  return `${shape.name} on ${request.numGpus} GPU${request.numGpus === 1 ? "" : "s"} of ${
    gib(request.gpuBytes)
  } GiB; ` +
    `${request.tileSlots} tile slots, ${request.tokenBudget} tokens a step, ${
      tokensPerTile(shape)
    } tokens a tile. In GiB:`;
}

/** `0-3, 79` */
function rangesText(layers: readonly number[]): string {
  if (layers.length === 0) return "none";
  const ranges: [number, number][] = [];
  for (const layer of layers) {
    const last = ranges.at(-1);
    if (last?.[1] === layer - 1) last[1] = layer;
    else ranges.push([layer, layer]);
  }
  return ranges.map(([first, last]) => first === last ? `${first}` : `${first}-${last}`).join(", ");
}

/** All plans of several models, a line each. */
export function overviewText(
  rows: readonly { readonly request: PlanRequest; readonly plans: readonly Plan[] }[],
): string {
  const head = ["", ...rows[0]!.plans.flatMap(({ quantisation }) => [`${quantisation}, GiB`, "tokens of KV"])];
  return table([
    head,
    ...rows.map(({ request, plans }) => [
      request.shape.name,
      ...plans.flatMap((plan) => [
        gib(plan.gpus.reduce((sum, gpu) => sum + gpu.weightBytes, 0)),
        plan.fits ? count(plan.kvTokens) : plan.kvTokens > 0 ? `only ${count(plan.kvTokens)}` : "does not fit",
      ]),
    ]),
  ]);
}

/** Plans of GPUs that compute each layer together (tensor parallel), a line for each number of them. */
import { type Card, type Efficiencies, sumBytes, whyNotTogether } from "@tessera/native";
import { type Plan, planMemory, type PlanRequest, QUANTISATIONS } from "./memory.ts";
import { count, gib, table } from "./report.ts";
import { BATCHES, percent, plannedRequest, type PlannedSpeed, planSpeeds } from "./speed.ts";

/** What so many GPUs do together, or why they cannot. */
export interface TogetherPlan {
  readonly numGpus: number;
  readonly why?: string;
  readonly plans: readonly Plan[];
  /** Of a card that was named: speeds of the batches that fit, and bytes each GPU sends to sum a step of one sequence. */
  readonly speeds?: readonly PlannedSpeed[];
  readonly sumBytesPerSequence?: number;
}

/** Of each number of GPUs; `request` says all but how many. */
export function planTogether(request: PlanRequest, numbers: readonly number[], card?: Card): TogetherPlan[] {
  return numbers.map((numGpus) => {
    const why = whyNotTogether(request.shape, numGpus);
    if (why !== undefined) return { numGpus, why, plans: [] };
    const own = { ...request, numGpus, isTensorParallel: true };
    const plans = QUANTISATIONS.map((quantisation) => planMemory(own, quantisation));
    if (card === undefined) return { numGpus, plans };
    const sumBytesPerSequence = sumBytes(request.shape, 1, numGpus);
    return { numGpus, plans, speeds: planSpeeds(own, plans, card), sumBytesPerSequence };
  });
}

/** Memory of a GPU, and what all together hold. */
export function togetherText(request: PlanRequest, all: readonly TogetherPlan[]): string {
  const rows = QUANTISATIONS.flatMap((_, index) =>
    all.filter(({ why }) => why === undefined).map(({ numGpus, plans }, i) => {
      const plan = plans[index]!;
      // The first has tiles' embeddings and whole logits.
      const gpu = plan.gpus[0]!;
      const tower = plan.towerQuantisation === plan.quantisation ? "" : ` (vision tower ${plan.towerQuantisation})`;
      return [
        i === 0 ? `${plan.quantisation}${tower}` : "",
        String(numGpus),
        gib(gpu.weightBytes),
        gib(gpu.tileSlotBytes + gpu.activationBytes + gpu.runtimeBytes),
        gib(gpu.kvRoomBytes),
        plan.kvTokens > 0 ? count(plan.kvTokens) : "does not fit",
        String(plan.largestBatch),
      ];
    })
  );
  const head = ["", "GPUs", "weights", "other", "KV cache", "tokens of KV", `sequences of ${count(request.context)}`];
  return [table([head, ...rows]), ...whyNot(all)].join("\n");
}

/** Tokens a second at each batch that fits, the largest batch there is room for, and what goes over the links. */
export function togetherSpeedText(
  { shape }: PlanRequest,
  card: Card,
  all: readonly TogetherPlan[],
  by: Efficiencies,
): string {
  const one = plannedRequest(shape);
  const head = `Expected of ${card.name}s by bytes and flops, not measured (${percent(by.weights)} of the bandwidth, ` +
    `${percent(by.gemm)} of the multiply-add peak;\nsums of fp32 rows over ${card.linkName}, assumed to carry ` +
    `${percent(by.link)} of ${(card.link / 1e9).toFixed(0)} GB/s and to take ${
      (by.reduceSeconds * 1e6).toFixed(0)
    } us ` +
    `each;\nbytes sent are those of one GPU),\nfor pictures of ${one.tiles} tiles and answers of ${one.answerTokens} tokens:`;
  const rows = QUANTISATIONS.flatMap((quantisation, index) =>
    all.filter(({ why }) => why === undefined).map(({ numGpus, plans, speeds = [], sumBytesPerSequence = 0 }, i) => {
      const of = (batch: number) => speeds.find((each) => each.quantisation === quantisation && each.batch === batch);
      const largest = Math.floor(plans[index]!.kvTokens / (one.promptTokens + one.answerTokens));
      const first = of(1);
      return [
        i === 0 ? quantisation : "",
        String(numGpus),
        ...BATCHES.map((batch) => of(batch)?.decodeTokensPerSecond.toFixed(0) ?? "-"),
        first === undefined ? "-" : (first.firstTokenSeconds * 1e3).toFixed(0),
        count(largest),
        (sumBytesPerSequence / 1e6).toFixed(2),
      ];
    })
  );
  const columns = [
    "",
    "GPUs",
    ...BATCHES.map((batch) => `tokens/s at ${batch}`),
    "first token, ms",
    "largest batch",
    "MB sent a token",
  ];
  return `${head}\n${table([columns, ...rows])}`;
}

function whyNot(all: readonly TogetherPlan[]): string[] {
  return all.flatMap(({ why }) => why === undefined ? [] : [`Not on ${why.replace(/ devices/, " GPUs")}`])
    .map((line) => line.replace(/^Not on (\d+) GPUs/, "Not on $1 GPUs: they"));
}

/** `tessera plan`: whether a model fits the GPUs, and how it lies on them, without its weights. */
import { findInternVL3, INTERNVL3_MODELS, type ModelShape, readEnv } from "@tessera/shared";
import { ASSUMED, CARDS, findCard } from "@tessera/native";
import { parseArgs } from "node:util";
import { MAX_DEVICES } from "../../gpu-worker/plan/split_layers.ts";
import { findCheckpoint } from "../../gpu-worker/config.ts";
import { planMemory, type PlanRequest, QUANTISATIONS } from "../plan/memory.ts";
import { readShape } from "../plan/read_shape.ts";
import { gib, overviewText, planText, requestText } from "../plan/report.ts";
import { planSpeeds, speedText } from "../plan/speed.ts";
import { planTogether, togetherSpeedText, togetherText } from "../plan/together.ts";
import { UsageError, wholeNumber } from "./usage.ts";

/** The engine's own bound (`engine/model/shard.cpp`). */
const MAX_TENSOR_PARALLEL = 16;

const HELP = `Usage: deno task tessera plan [model] [options]

  <model>              ${INTERNVL3_MODELS.map(({ name }) => name).join(", ")},
                       or a checkpoint's folder or name; without one: all seven, a line each

Options:
  --gpus <n>x<GiB>     GPUs and the memory of each (default 1x80)
  --card <name>        one GPU: ${CARDS.map(({ name }) => name).join(", ")}; adds its memory, and speeds expected of it
  --tensor-parallel <n,...>
                       all GPUs compute each layer together, instead of having layers of their own: a line for each
                       number of them, such as 1,2,4,8; --card adds what goes over NVLink or PCIe between them
  --context <tokens>   longest sequence, prompt and answer (default: the model's)
  --tile-slots <n>     tiles whose embeddings stay (TESSERA_TILE_SLOTS)
  --step <tokens>      new tokens of one step (TESSERA_TOKEN_BUDGET)
  --json               as JSON, in bytes

Ends with code 1 when the model fits at no type of weights.
`;

/** Runs the command; returns the exit code. @throws UsageError */
export async function planCommand(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      gpus: { type: "string" },
      card: { type: "string" },
      "tensor-parallel": { type: "string" },
      context: { type: "string" },
      "tile-slots": { type: "string" },
      step: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help || positionals.length > 1) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  const settings = readEnv(
    ["TESSERA_TILE_SLOTS", "TESSERA_TOKEN_BUDGET", "TESSERA_MAX_SEQUENCES", "TESSERA_KV_MEMORY_SHARE"],
    (name) => Deno.env.get(name),
  );
  const card = values.card === undefined ? undefined : findCard(values.card);
  if (values.card !== undefined && (card === undefined || values.gpus !== undefined)) {
    const what = card === undefined ? `no ${values.card}` : "--gpus names memory too";
    throw new UsageError(`Cannot read --card: ${what}, expected one of ${CARDS.map(({ name }) => name).join(", ")}.`);
  }
  const gpus = card === undefined ? values.gpus ?? "1x80" : `1x${(card.memory / 2 ** 30).toFixed(1)}`;
  const together = values["tensor-parallel"]?.split(",").map((text) =>
    wholeNumber("tensor-parallel", text, 1, MAX_TENSOR_PARALLEL)
  );
  if (together !== undefined && (positionals[0] === undefined || gpusOf(gpus).numGpus !== 1)) {
    const what = positionals[0] === undefined ? "no model" : `--gpus ${gpus}, which has numbers of its own`;
    throw new UsageError(`Cannot read --tensor-parallel: ${what}, expected a model, and --gpus 1x<GiB> or --card.`);
  }
  const requestFor = (shape: ModelShape): PlanRequest => ({
    shape,
    ...gpusOf(gpus),
    context: values.context === undefined
      ? shape.contextLength
      : wholeNumber("context", values.context, 1, shape.contextLength),
    tileSlots: values["tile-slots"] === undefined
      ? settings.TESSERA_TILE_SLOTS
      : wholeNumber("tile-slots", values["tile-slots"], 1, 1_000_000),
    tokenBudget: values.step === undefined
      ? settings.TESSERA_TOKEN_BUDGET
      : wholeNumber("step", values.step, 1, 1_000_000),
    maxSequences: settings.TESSERA_MAX_SEQUENCES,
    // Without a share the cache has a size of its own: then all that is left is what it may have.
    kvShare: settings.TESSERA_KV_MEMORY_SHARE || 1,
  });
  const shapes = positionals[0] === undefined ? INTERNVL3_MODELS : [await shapeOf(positionals[0])];
  if (together !== undefined) {
    const request = requestFor(shapes[0]!);
    const all = planTogether(request, together, card);
    if (values.json) console.log(JSON.stringify(all.map((each) => ({ ...request, ...each })), null, 2));
    else {
      const speed = card === undefined ? [] : [togetherSpeedText(request, card, all, ASSUMED)];
      const title =
        `${request.shape.name} on GPUs of ${gib(request.gpuBytes)} GiB that compute each layer together; GiB ` +
        `of the first, which has most:`;
      console.log([title, togetherText(request, all), ...speed].join("\n\n"));
    }
    return all.some(({ plans }) => plans.some(({ fits }) => fits)) ? 0 : 1;
  }
  const rows = shapes.map((shape) => {
    const request = requestFor(shape);
    const plans = QUANTISATIONS.map((quantisation) => planMemory(request, quantisation));
    return { request, plans, ...(card === undefined ? {} : { speeds: planSpeeds(request, plans, card) }) };
  });
  if (values.json) console.log(JSON.stringify(rows.map(({ request, ...rest }) => ({ ...request, ...rest })), null, 2));
  else if (positionals[0] === undefined) {
    console.log(
      `On ${gpus.replace("x", " GPUs of ")} GiB: weights, and tokens that all sequences may have together.\n`,
    );
    console.log(overviewText(rows));
  } else {
    const { request, plans, speeds } = rows[0]!;
    const speed = card === undefined || speeds === undefined ? [] : [speedText(card, speeds, ASSUMED)];
    console.log([requestText(request), ...plans.map((plan) => planText(request, plan)), ...speed].join("\n\n"));
  }
  return rows.some(({ plans }) => plans.some(({ fits }) => fits)) ? 0 : 1;
}

/** A published model's from our data; a folder's or a bundled one's from its config.json. */
async function shapeOf(model: string): Promise<ModelShape> {
  const folder = await findCheckpoint(model).catch(() => null);
  if (folder !== null) return await readShape(folder);
  const known = findInternVL3(model);
  if (known !== undefined) return known;
  const names = INTERNVL3_MODELS.map(({ name }) => name).join(", ");
  throw new UsageError(`Cannot plan ${model}: no such checkpoint, and none of ${names}.`);
}

function gpusOf(text: string): { readonly numGpus: number; readonly gpuBytes: number } {
  const [, gpus, memory] = text.match(/^(\d+)x(\d+(?:\.\d+)?)$/i) ?? [];
  const numGpus = Number(gpus), gpuGib = Number(memory);
  if (!(numGpus >= 1 && numGpus <= MAX_DEVICES && gpuGib > 0)) {
    throw new UsageError(
      `Cannot read --gpus: ${text}, expected GPUs and GiB of each, as 4x80, with 1 to ${MAX_DEVICES} GPUs.`,
    );
  }
  return { numGpus, gpuBytes: gpuGib * 2 ** 30 };
}

/**
 * Prints what models should reach on GPUs, by bytes and flops alone: `deno task roofline [InternVL3-8B] [--card H100]
 * [--type bf16|int8|fp8|4bit] [--batch 1,8,64,256] [--tiles 13] [--text 64] [--answer 128] [--devices 1]`: so many cards
 * compute each layer together (tensor parallel).
 */
import { findInternVL3, INTERNVL3_MODELS, type ModelShape } from "@tessera/shared";
import { parseArgs } from "node:util";
import { ASSUMED, type Card, CARDS, findCard } from "./cards.ts";
import { type Expectation, WEIGHT_TYPES, type WeightType } from "./roofline.ts";
import { expectTogether, whyNotTogether } from "./tensor_parallel.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    card: { type: "string" },
    type: { type: "string", default: "bf16" },
    batch: { type: "string", default: "1,8,64,256" },
    tiles: { type: "string", default: "13" },
    text: { type: "string", default: "64" },
    answer: { type: "string", default: "128" },
    devices: { type: "string", default: "1" },
  },
});

function refuse(what: string): never {
  console.error(what);
  Deno.exit(2);
}

const type = WEIGHT_TYPES.find((each) => each === values.type) ??
  refuse(`Cannot expect ${values.type}: expected ${WEIGHT_TYPES.join(", ")}`);
const shapes = positionals[0] === undefined ? INTERNVL3_MODELS : [
  findInternVL3(positionals[0]) ?? refuse(`Cannot find ${positionals[0]}: expected a published model's name`),
];
const cards = values.card === undefined ? CARDS : [
  findCard(values.card) ?? refuse(`Cannot find ${values.card}: expected ${CARDS.map(({ name }) => name).join(", ")}`),
];
const numbers = values.batch.split(",").map(Number);
const [text, answer, devices] = [values.text, values.answer, values.devices].map(Number) as [number, number, number];
const tiles = Number(values.tiles);
if (![...numbers, text, answer, devices].every((n) => Number.isInteger(n) && n > 0) || !(tiles >= 0)) {
  refuse("Cannot read --batch, --tiles, --text, --answer or --devices: expected whole numbers");
}

const columns = [
  "batch",
  "ms/step",
  "tokens/s",
  "ms/tile",
  "us/prompt token",
  "TTFT ms",
  "requests/s",
  "largest batch",
];

/** A line a batch; a dash where the batch does not fit. */
function row(batch: number, expectation: Expectation): string[] {
  const fits = batch <= expectation.largestBatch;
  const speed = fits
    ? [(expectation.stepSeconds * 1e3).toFixed(2), expectation.decodeTokensPerSecond.toFixed(0)]
    : ["does not fit", "-"];
  return [
    String(batch),
    ...speed,
    (expectation.tileSeconds * 1e3).toFixed(2),
    (expectation.prefillTokenSeconds * 1e6).toFixed(1),
    (expectation.firstTokenSeconds * 1e3).toFixed(1),
    fits ? expectation.imagesPerSecond.toFixed(2) : "-",
    String(expectation.largestBatch),
  ];
}

function table(shape: ModelShape, card: Card, type: WeightType): void {
  const promptTokens = text + tiles * tokensPerTile(shape);
  const rows = numbers.map((batch) =>
    row(
      batch,
      expectTogether(shape, card, type, { batch, promptTokens, answerTokens: answer, tiles }, ASSUMED, devices),
    )
  );
  const all = [columns, ...rows];
  const widths = columns.map((_, column) => Math.max(...all.map((each) => each[column]!.length)));
  const gb = (card.memory / 1e9).toFixed(0);
  console.log(
    `\n${shape.name}, ${type}, ${
      devices === 1 ? "one" : devices
    } ${card.name} (${gb} GB), ${promptTokens} tokens of prompt:`,
  );
  for (const each of all) console.log(`  ${each.map((cell, i) => cell.padStart(widths[i]!)).join("  ")}`);
}

function tokensPerTile({ vision, downsampleRatio }: ModelShape): number {
  return (vision.imageSize / vision.patchSize * downsampleRatio) ** 2;
}

console.log("Expected by bytes and flops; nothing here is measured. Assumed efficiencies:");
console.log(`  ${Object.entries(ASSUMED).map(([name, value]) => `${name} ${value}`).join(", ")}`);
for (const shape of shapes) {
  for (const card of cards) {
    if (type === "fp8" && card.fp8 === 0) console.log(`\n${shape.name}, fp8: ${card.name} has no FP8 products`);
    else if (whyNotTogether(shape, devices) !== undefined) {
      console.log(`\n${shape.name}: ${whyNotTogether(shape, devices)}`);
      break;
    } else table(shape, card, type);
  }
}

/**
 * Our engine against transformers and llama.cpp on random weights of the 1B's shape: every round runs each side once,
 * with the machine's own limits measured around each run; figures are medians of rounds.
 */
import { ensurePython } from "../../../infra/tools/python.ts";
import { buildAddon } from "../../../native/mod.ts";
import { ensureCheckpoint } from "./checkpoint.ts";
import { ensureLlama } from "./llama_build.ts";
import { LlamaSide } from "./llama_cpp.ts";
import { Machine } from "./machine.ts";
import { type EngineBenchOptions, parseOptions, type Part, USAGE } from "./options.ts";
import { type Entry, runAll } from "./runs.ts";
import type { Scenario } from "./side.ts";
import { printResults, type Result, resultsOf } from "./table.ts";
import { TesseraSide } from "./tessera.ts";
import { TransformersSide } from "./transformers.ts";

export async function benchEngine(args: readonly string[]): Promise<void> {
  let options: EngineBenchOptions;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
    Deno.exit(2);
  }
  const start = performance.now();
  const machine = await Machine.open(options.threads);
  const entries: Entry[] = [];
  const results: Result[] = [];
  try {
    await openSides(options, entries);
    const limits = await machine.limits();
    console.log(
      `${limits.isa}, ${options.threads} threads, ${options.rounds} rounds: medians ± half the middle half. Beside each ` +
        "figure what the machine read and multiplied around it, and what other programs had of its processors.\n",
    );
    for (const { scenario, parts } of scenarios(options)) {
      const runs = await runAll(scenario, entries, machine, options.rounds);
      for (const part of parts) {
        const found = resultsOf(scenario, part, entries, runs);
        printResults(found);
        results.push(...found);
        if (options.json !== undefined) await writeJson(options.json, options, limits.isa, results);
      }
    }
    console.log(`${Math.round((performance.now() - start) / 1000)} s`);
  } finally {
    for (const { side } of entries) await side.close();
    await machine.close();
  }
}

async function openSides(options: EngineBenchOptions, entries: Entry[]): Promise<void> {
  const { dtypes, threads } = options;
  const modelPath = await ensureCheckpoint();
  const head = options.headDtype === "int8" ? "int8" : "bf16";
  await buildAddon({ progress: (line) => console.log(line) });
  for (const dtype of dtypes) {
    entries.push({
      side: await TesseraSide.open(modelPath, dtype, threads, options.headDtype),
      dtype,
      head,
      ours: true,
    });
  }
  if (!options.transformers && !options.llama) return;
  const python = options.python ??
    await ensurePython({ name: "bench-engine/python", requirements: "tests/bench/engine/requirements.txt" });
  if (options.transformers) {
    entries.push({
      side: await TransformersSide.open(python, modelPath, threads),
      dtype: "bf16",
      head: "bf16",
      ours: false,
    });
  }
  if (!options.llama) return;
  const folder = options.llamaFolder ?? await ensureLlama(python);
  for (const type of dtypes) {
    const side = await LlamaSide.open({ folder, python, modelPath, type, threads });
    // Its quantised files have the output matrix in 8 bits where rows are no whole blocks of 256, as here.
    entries.push({ side, dtype: type, head: type === "bf16" ? "bf16" : "int8", ours: false });
  }
}

function scenarios(options: EngineBenchOptions): { scenario: Scenario; parts: Part[] }[] {
  const has = (part: Part) => options.parts.includes(part);
  const out: { scenario: Scenario; parts: Part[] }[] = [];
  if (has("vision")) out.push({ scenario: { kind: "vision" }, parts: ["vision"] });
  for (const context of options.contexts) {
    for (const batch of options.batches) {
      const parts: Part[] = [];
      if (has("prefill") && batch === 1) parts.push("prefill");
      if (has("decode")) parts.push("decode");
      if (parts.length === 0) continue;
      const steps = has("decode") ? options.steps : 0;
      out.push({ scenario: { kind: "text", context, batch, steps, prefill: parts[0] === "prefill" }, parts });
    }
  }
  return out;
}

/** All that is known so far, so that a run that is cut leaves what it has. */
async function writeJson(
  path: string,
  { threads, rounds, steps }: EngineBenchOptions,
  isa: string,
  results: readonly Result[],
): Promise<void> {
  await Deno.writeTextFile(`${path}.part`, `${JSON.stringify({ isa, threads, rounds, steps, results }, null, 1)}\n`);
  await Deno.rename(`${path}.part`, path);
}

/**
 * Starts of a worker with a model of the 1B's shape, until the first token of a short prompt: without the weight cache,
 * the first time with it, and from then on; and what stays resident. Beside llama.cpp, which maps its own files.
 */
import { startNatsServer } from "../../../infra/nats/server.ts";
import { buildAddon } from "../../../native/mod.ts";
import { ensureCheckpoint } from "../engine/checkpoint.ts";
import { LlamaSide } from "../engine/llama_cpp.ts";
import { median, printTable } from "../report.ts";
import { type LoadBenchOptions, parseOptions, USAGE } from "./options.ts";
import { PROMPT_TOKENS, type Started, startLlama, startWorker } from "./start.ts";
import { writeTokenizer } from "./tokenizer.ts";

const MIB = 1024 * 1024;

export async function benchLoad(args: readonly string[]): Promise<void> {
  let options: LoadBenchOptions;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
    Deno.exit(2);
  }
  await buildAddon({ progress: (line) => console.log(line) });
  const model = await ensureCheckpoint();
  await writeTokenizer(model);
  const { dtypes, rounds, llama } = options;
  const side = llama === undefined ? undefined : await LlamaSide.open({
    ...llama,
    modelPath: model,
    type: "bf16",
    threads: navigator.hardwareConcurrency,
  });
  const cache = await Deno.makeTempDir({ dir: `${model}/..`, prefix: "weights-" });
  const nats = await startNatsServer();
  const rows: string[][] = [];
  try {
    for (const dtype of dtypes) {
      const start = (folder: string, outcome: string) =>
        startWorker({ natsUrl: nats.url, model, dtype, cache: folder, outcome });
      rows.push(row(`${dtype}, nothing kept`, [await start("off", "off")]));
      rows.push(row(`${dtype}, first time`, [await start(cache, "written")]));
      const runs: Started[] = [];
      const theirs: Started[] = [];
      if (side !== undefined && dtype === "bf16") await startLlama(side); // its pages come in
      for (let round = 0; round < rounds; round++) {
        runs.push(await start(cache, "read"));
        if (side !== undefined && dtype === "bf16") theirs.push(await startLlama(side));
      }
      rows.push(row(`${dtype}, kept`, runs));
      if (theirs.length > 0) rows.push(row("llama.cpp BF16 (decoder alone)", theirs));
    }
  } finally {
    await nats.stop();
    await Deno.remove(cache, { recursive: true });
  }
  console.log(
    `From the start of the process, ms, medians of ${rounds} with the page cache warm; a prompt of about ` +
      `${PROMPT_TOKENS} tokens. Resident memory in MiB behind the first token, and the largest until then.\n`,
  );
  printTable(
    ["", "open", "ready", "first token", "weights", "KV budget", "resident", "largest", "of weights + KV"],
    rows,
  );
}

function row(name: string, runs: readonly Started[]): string[] {
  const of = (figure: (run: Started) => number | undefined, digits = 0) => {
    const values = runs.map(figure);
    return values.includes(undefined) ? "" : median(values as number[]).toFixed(digits);
  };
  return [
    name,
    of(({ openMs }) => openMs),
    of(({ readyMs }) => readyMs),
    of(({ firstTokenMs }) => firstTokenMs),
    of(({ weightBytes }) => weightBytes && weightBytes / MIB),
    of(({ kvBytes }) => kvBytes && kvBytes / MIB),
    of(({ residentBytes }) => residentBytes && residentBytes / MIB),
    of(({ peakBytes }) => peakBytes / MIB),
    of(({ weightBytes, kvBytes, peakBytes }) => weightBytes && kvBytes && peakBytes / (weightBytes + kvBytes), 2),
  ];
}

/**
 * `deno task compare:tokenizer [lines]`: ids of 10,000 lines by our tokenizers and by transformers', over freshly trained
 * vocabularies; with --write also trains the committed small ones and writes their goldens.
 */
import { ensurePython } from "../../../infra/tools/python.ts";
import { ROOT } from "../../../infra/tools/paths.ts";
import { run } from "../../../infra/tools/process.ts";
import { fail } from "../../../infra/tools/terminal.ts";
import { loadTokenizer } from "../../../gpu-worker/prompt/load_tokenizer.ts";
import { corpus } from "./corpus.ts";
import { BLOCK, COMMITTED, type Goldens, GOLDENS_PATH, HERE, hashIds, sourcesHash, TEST_SEED } from "./goldens.ts";

const TRAIN_SEED = 1;
const COMPARE_SEED = 2;

class Workshop {
  readonly #python: string;
  readonly #scratch: string;

  constructor(python: string, scratch: string) {
    this.#python = python;
    this.#scratch = scratch;
  }

  async train(folder: string, numLines: number, size: number, rules: readonly string[]): Promise<void> {
    const lines = await this.#lines("train", corpus(TRAIN_SEED, numLines));
    const options = ["--size", `${size}`, "--rules", ...rules];
    await run(this.#python, [`${HERE}/train.py`, lines, folder, ...options]);
  }

  /** [lines] ids by transformers. */
  async reference(folder: string, texts: readonly string[], ...options: string[]): Promise<number[][]> {
    const lines = await this.#lines("texts", texts);
    const out = await run(this.#python, [`${HERE}/reference.py`, folder, lines, ...options]);
    return out.trim().split("\n").map((line) => JSON.parse(line) as number[]);
  }

  async #lines(name: string, texts: readonly string[]): Promise<string> {
    const path = `${this.#scratch}/${name}.json`;
    await Deno.writeTextFile(path, JSON.stringify(texts));
    return path;
  }
}

/** Prints the first lines that differ; returns how many do. */
async function compare(workshop: Workshop, folder: string, name: string, texts: string[], ...options: string[]) {
  const expected = await workshop.reference(folder, texts, ...options);
  const tokenizer = await loadTokenizer(folder);
  let numWrong = 0;
  const startedAt = performance.now();
  const found = texts.map((text) => tokenizer.encodeText(text));
  const ms = performance.now() - startedAt;
  texts.forEach((text, index) => {
    if (JSON.stringify(found[index]) === JSON.stringify(expected[index])) return;
    if (++numWrong > 3) return;
    console.log(`  line ${index} ${JSON.stringify(text)}\n    ours ${found[index]}\n    theirs ${expected[index]}`);
  });
  const numIds = found.reduce((sum, ids) => sum + ids.length, 0);
  console.log(`${name}: ${texts.length} lines, ${numIds} ids, ${numWrong} lines differ (ours took ${ms.toFixed(0)} ms)`);
  return numWrong;
}

async function writeGoldens(workshop: Workshop): Promise<void> {
  await workshop.train(HERE, 1_000, 2_400, ["internlm3", "few"]);
  const goldens: Goldens = { sources: await sourcesHash(), blocks: {} };
  const texts = corpus(TEST_SEED, BLOCK * 20);
  for (const name of COMMITTED) {
    const ids = await workshop.reference(`${HERE}/${name}`, texts);
    goldens.blocks[name] = [];
    for (let at = 0; at < ids.length; at += BLOCK) goldens.blocks[name].push(await hashIds(ids.slice(at, at + BLOCK)));
  }
  await Deno.writeTextFile(GOLDENS_PATH, `${JSON.stringify(goldens, null, 1)}\n`);
  console.log(`wrote ${GOLDENS_PATH.slice(ROOT.length + 1)}`);
}

async function main(args: string[]): Promise<number> {
  const python = await ensurePython({
    name: "python-tokenizers",
    requirements: "tests/golden/tokenizer/requirements.txt",
  });
  const scratch = await Deno.makeTempDir();
  try {
    const workshop = new Workshop(python, scratch);
    if (args.includes("--write")) await writeGoldens(workshop);
    await workshop.train(scratch, 6_000, 6_000, ["internlm3", "few", "nmt_nfkc"]);
    const texts = corpus(COMPARE_SEED, Number(args.find((arg) => /^\d+$/.test(arg)) ?? 10_000));
    let numWrong = await compare(workshop, `${scratch}/qwen2`, "Qwen2, vocab.json and merges.txt", texts);
    numWrong += await compare(workshop, `${scratch}/qwen2`, "Qwen2, tokenizer.json", texts, "--save-json");
    for (const rules of ["internlm3", "few", "nmt_nfkc"]) {
      numWrong += await compare(workshop, `${scratch}/sentencepiece-${rules}`, `SentencePiece, ${rules}`, texts);
    }
    return numWrong === 0 ? 0 : 1;
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

try {
  Deno.exit(await main(Deno.args));
} catch (error) {
  fail(error);
}

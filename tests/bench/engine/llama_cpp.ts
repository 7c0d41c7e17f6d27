/** llama.cpp as a side: a process a run. */
import { dataDir, ROOT } from "../../../infra/tools/paths.ts";
import { run } from "../../../infra/tools/process.ts";
import { png } from "../../support/png_writer.ts";
import type { Figures, Scenario, Side } from "./side.ts";

/** Longest time of one run. */
const TIMEOUT_SECONDS = 300;
/** Their name of a type, beside which of ours it stands, and the file with it. */
const TYPES = { bf16: "BF16", int8: "Q8_0", nf4: "Q4_K_M" } as const;

export class LlamaSide implements Side {
  readonly name: string;
  readonly #bin: string;
  readonly #files: string;
  readonly #type: keyof typeof TYPES;
  readonly #threads: number;

  private constructor(bin: string, files: string, type: keyof typeof TYPES, threads: number) {
    this.name = `llama.cpp ${TYPES[type]}`;
    this.#bin = bin;
    this.#files = files;
    this.#type = type;
    this.#threads = threads;
  }

  /** Writes the files with the weights of `modelPath` where they are missing. */
  static async open(
    options: { folder: string; python: string; modelPath: string; type: keyof typeof TYPES; threads: number },
  ): Promise<LlamaSide> {
    const { folder, python, modelPath, type, threads } = options;
    const files = `${dataDir()}/bench-engine/gguf`;
    const exists = (name: string) => Deno.stat(`${files}/${name}`).then(() => true, () => false);
    await Deno.mkdir(files, { recursive: true });
    if (!await exists("whole.txt")) {
      console.log("Writing the weights for llama.cpp");
      await run(python, [`${ROOT}/tests/bench/engine/gguf_files.py`, `${folder}/gguf-py`, modelPath, files]);
      await Deno.writeFile(`${files}/tile.png`, await png(448, 448, (x, y) => (x * 31 + y * 17) % 256));
      await Deno.writeTextFile(`${files}/whole.txt`, "");
    }
    const bin = `${folder}/build/bin`;
    const side = new LlamaSide(bin, files, type, threads);
    if (type !== "bf16" && !await exists(side.#file())) {
      const target = `${files}/${side.#file()}`;
      await run(`${bin}/llama-quantize`, [`${files}/text-bf16.gguf`, `${target}.part`, TYPES[type]]);
      await Deno.rename(`${target}.part`, target);
    }
    return side;
  }

  #file(): string {
    return `text-${TYPES[this.#type].toLowerCase()}.gguf`;
  }

  /** Eight long prompts would take it minutes each time: the long context is compared alone. */
  has(scenario: Scenario): boolean {
    return scenario.kind === "vision" ? this.#type === "bf16" : scenario.context <= 1000 || scenario.batch === 1;
  }

  async measure(scenario: Scenario): Promise<Figures> {
    const threads = String(this.#threads);
    const model = ["-m", `${this.#files}/${this.#file()}`, "-t", threads];
    if (scenario.kind === "vision") {
      const projector = ["--mmproj", `${this.#files}/mmproj-bf16.gguf`, "--image", `${this.#files}/tile.png`];
      const said = await this.#run("llama-mtmd-cli", [...model, ...projector, "-p", "a", "-n", "1", "-c", "2048"]);
      const ms = said.match(/encod(?:ed|ing done) in (\d+) ms/)?.[1];
      if (ms === undefined) throw new Error(`Cannot read llama-mtmd-cli: no time in its output\n${said.slice(-2_000)}`);
      return { visionMs: Number(ms) };
    }
    const { context, batch, steps, prefill } = scenario;
    const size = String(batch * (context + steps) + 64);
    const work = ["-npp", String(context), "-ntg", String(Math.max(1, steps)), "-npl", String(batch)];
    const said = await this.#run("llama-batched-bench", [
      ...[...model, "-tb", threads, "-c", size, "-fa", "on", ...work, "--output-format", "jsonl"],
    ]);
    const line = said.split("\n").find((text) => text.startsWith("{") && text.includes("speed_tg"));
    if (line === undefined) throw new Error(`Cannot read llama-batched-bench: no result\n${said.slice(-2_000)}`);
    const { speed_pp, speed_tg } = JSON.parse(line);
    return { ...(prefill ? { prefill: speed_pp } : {}), ...(steps > 0 ? { decode: speed_tg } : {}) };
  }

  /** A process that loads the weights, reads a prompt, says one token and ends. */
  spawnShort(promptTokens: number): Deno.ChildProcess {
    const model = ["-m", `${this.#files}/${this.#file()}`, "-t", String(this.#threads), "-tb", String(this.#threads)];
    const work = ["-npp", String(promptTokens), "-ntg", "1", "-npl", "1", "-c", "512", "-fa", "on"];
    const quiet = { stdin: "null", stdout: "null", stderr: "null" } as const;
    return new Deno.Command(`${this.#bin}/llama-batched-bench`, { args: [...model, ...work], ...quiet }).spawn();
  }

  async #run(program: string, args: readonly string[]): Promise<string> {
    const { success, stdout, stderr } = await new Deno.Command("timeout", {
      args: [String(TIMEOUT_SECONDS), `${this.#bin}/${program}`, ...args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output();
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    if (!success) throw new Error(`Cannot run ${program} ${args.join(" ")}:\n${text.slice(-2_000)}`);
    return text;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

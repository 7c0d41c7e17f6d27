/** transformers in bf16 as a side: a Python beside the bench that runs a scenario on command. */
import { lines } from "../report.ts";
import type { Figures, Scenario, Side } from "./side.ts";

const SCRIPT = new URL("./transformers_side.py", import.meta.url).pathname;
/** Longest time of one scenario. */
const TIMEOUT_MS = 300_000;

export class TransformersSide implements Side {
  readonly name = "transformers bf16";
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: AsyncGenerator<string>;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#input = child.stdin.getWriter();
    this.#output = lines(child.stdout);
  }

  /** `device` as torch names it. */
  static async open(python: string, modelPath: string, threads: number, device = "cpu"): Promise<TransformersSide> {
    const args = [SCRIPT, modelPath, String(threads), device];
    // Its threads would otherwise spin into the next side's run.
    const env = { OMP_WAIT_POLICY: "passive", OMP_NUM_THREADS: String(threads), TRANSFORMERS_VERBOSITY: "error" };
    const child = new Deno.Command(python, { args, env, stdin: "piped", stdout: "piped", stderr: "null" }).spawn();
    const side = new TransformersSide(child);
    const { version, torch } = JSON.parse(await side.#next());
    console.log(`transformers ${version}, torch ${torch}`);
    return side;
  }

  has(): boolean {
    return true;
  }

  async measure(scenario: Scenario): Promise<Figures> {
    await this.#input.write(new TextEncoder().encode(`${JSON.stringify(scenario)}\n`));
    return JSON.parse(await this.#next());
  }

  async #next(): Promise<string> {
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), TIMEOUT_MS);
    const { value, done } = await this.#output.next();
    clearTimeout(timer);
    if (done) throw new Error("Cannot measure transformers: its Python has ended, expected an answer");
    return value;
  }

  async close(): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#child.status;
  }
}

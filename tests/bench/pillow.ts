/** A Python beside the bench that tiles with Pillow on command, so that its runs stand between ours. */
import { lines } from "./report.ts";

/** Milliseconds of one run. */
export interface Steps {
  readonly decode: number;
  readonly resize: number;
  readonly cut: number;
}

export interface PillowRun {
  readonly path: string;
  readonly tileSize: number;
  readonly cols: number;
  readonly rows: number;
}

const SCRIPT = new URL("./pillow_side.py", import.meta.url).pathname;

export class PillowSide {
  readonly version: string;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: AsyncGenerator<string>;

  private constructor(version: string, child: Deno.ChildProcess, output: AsyncGenerator<string>) {
    this.version = version;
    this.#child = child;
    this.#input = child.stdin.getWriter();
    this.#output = output;
  }

  static async start(python: string): Promise<PillowSide> {
    // One thread, as the tiler's: some builds would take more for WebP and AVIF.
    const env = { OMP_NUM_THREADS: "1" };
    const child = new Deno.Command(python, { args: [SCRIPT], env, stdin: "piped", stdout: "piped" }).spawn();
    const output = lines(child.stdout);
    const { version } = JSON.parse(await next(output));
    return new PillowSide(version, child, output);
  }

  async run(run: PillowRun): Promise<Steps> {
    await this.#input.write(new TextEncoder().encode(`${JSON.stringify(run)}\n`));
    return JSON.parse(await next(this.#output));
  }

  async stop(): Promise<void> {
    await this.#input.close();
    await this.#child.status;
  }
}

async function next(output: AsyncGenerator<string>): Promise<string> {
  const { value, done } = await output.next();
  if (done) throw new Error("Cannot go on: Python has ended, expected an answer");
  return value;
}

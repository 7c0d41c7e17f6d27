/** Owns asking the machine for its limits right now: read bandwidth and multiply-add peaks on the threads in use. */
import { buildBench } from "../../../native/mod.ts";
import { lines } from "../report.ts";

export interface Limits {
  readonly isa: string;
  readonly readGBs: number;
  /** 0 without the instruction. */
  readonly bf16GFlops: number;
  readonly int8GOps: number;
}

/** A process that keeps the memory it reads, so that an answer takes a quarter of a second. */
export class Machine {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: AsyncGenerator<string>;

  private constructor(program: string, threads: number) {
    this.#child = new Deno.Command(program, { args: [String(threads), "machine"], stdin: "piped", stdout: "piped" })
      .spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#output = lines(this.#child.stdout);
  }

  static async open(threads: number): Promise<Machine> {
    return new Machine(await buildBench({ progress: (line) => console.log(line) }), threads);
  }

  async limits(): Promise<Limits> {
    await this.#input.write(new TextEncoder().encode("\n"));
    const { value, done } = await this.#output.next();
    if (done) throw new Error("Cannot measure the machine: its process has ended, expected an answer");
    return JSON.parse(value);
  }

  async close(): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#child.status;
  }
}

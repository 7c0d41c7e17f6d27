/** Owns asking the machine for its limits right now: read bandwidth and multiply-add peaks on the threads in use. */
import { buildBench } from "../../../native/mod.ts";
import { run } from "../../../infra/tools/process.ts";

export interface Limits {
  readonly isa: string;
  readonly readGBs: number;
  /** 0 without the instruction. */
  readonly bf16GFlops: number;
  readonly int8GOps: number;
}

export class Machine {
  readonly #program: string;
  readonly #threads: number;

  private constructor(program: string, threads: number) {
    this.#program = program;
    this.#threads = threads;
  }

  static async open(threads: number): Promise<Machine> {
    return new Machine(await buildBench({ progress: (line) => console.log(line) }), threads);
  }

  async limits(): Promise<Limits> {
    return JSON.parse(await run(this.#program, [String(this.#threads), "machine"]));
  }
}

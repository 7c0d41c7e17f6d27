/**
 * Our products of bf16 weights against oneDNN's, at every shape of the 1B: each round times each side once, with the
 * machine's limits around them; figures are medians of rounds.
 */
import { parseArgs } from "node:util";
import { ensurePython } from "../../../infra/tools/python.ts";
import { buildBench } from "../../../native/mod.ts";
import { Machine } from "../engine/machine.ts";
import { lines, median, printTable } from "../report.ts";

interface Shape {
  readonly name: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** Weights used in turn hold so many bytes, more than any cache, where a product is limited by reading them. */
const COLD_BYTES = 300e6;
/** Rows from which a product is limited by arithmetic. */
const MANY_ROWS = 64;
const TOWER: readonly [string, number, number][] = [
  ["qkv", 3072, 1024],
  ["proj", 1024, 1024],
  ["fc1", 4096, 1024],
  ["fc2", 1024, 4096],
];
const DECODER: readonly [string, number, number][] = [
  ["qkv", 1152, 896],
  ["out", 896, 896],
  ["gate+up", 9728, 896],
  ["down", 896, 4864],
];

function shapes(): Shape[] {
  const tower = TOWER.map(([name, n, k]) => ({ name: `tower ${name}`, m: 1025, n, k }));
  const decoder = [1, 8, 300].flatMap((m) => DECODER.map(([name, n, k]) => ({ name: `decoder ${name}`, m, n, k })));
  const head = [1, 8].map((m) => ({ name: "head", m, n: 151_674, k: 896 }));
  return [...tower, ...decoder, ...head];
}

/** Seconds of one product; a process that answers lines. */
interface Side {
  time(shape: Shape, copies: number): Promise<number>;
  close(): Promise<void>;
}

class Child {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly output: AsyncGenerator<string>;

  constructor(program: string, args: readonly string[], env: Record<string, string> = {}) {
    const pipes = { stdin: "piped", stdout: "piped" } as const;
    this.#child = new Deno.Command(program, { args: [...args], env, ...pipes }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.output = lines(this.#child.stdout);
  }

  async ask(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
  }

  async next(): Promise<string> {
    const { value, done } = await this.output.next();
    if (done) throw new Error("Cannot measure: a side's process has ended, expected an answer");
    return value;
  }

  async close(): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#child.status;
  }
}

function openOurs(program: string, threads: number): Side {
  const child = new Child(program, [String(threads), "gemm"]);
  return {
    async time({ m, n, k }, copies) {
      await child.ask([m, n, k, copies].join(" "));
      return Number(await child.next());
    },
    close: () => child.close(),
  };
}

async function openOneDnn(threads: number): Promise<Side> {
  const python = await ensurePython({
    name: "bench-engine/python",
    requirements: "tests/bench/engine/requirements.txt",
  });
  const script = new URL("./onednn_side.py", import.meta.url).pathname;
  const env = { OMP_WAIT_POLICY: "passive", OMP_NUM_THREADS: String(threads) };
  const child = new Child(python, [script, String(threads)], env);
  const { torch } = JSON.parse(await child.next());
  let isKnown = false;
  return {
    async time({ m, n, k }, copies) {
      await child.ask(JSON.stringify({ m, n, k, copies }));
      const times: number[] = [];
      for (let line = await child.next(); line !== "done"; line = await child.next()) {
        const version = line.match(/,info,(oneDNN v[\d.]+)/)?.[1];
        if (version !== undefined && !isKnown) console.log(`${version} of torch ${torch}`);
        isKnown ||= version !== undefined;
        // Fields: ..., exec, cpu, what, implementation, ..., milliseconds.
        const fields = line.split(",");
        const isProduct = fields.includes("exec") && (fields.includes("inner_product") || fields.includes("matmul"));
        if (isProduct) times.push(Number(fields.at(-1)));
      }
      if (times.length !== copies) {
        throw new Error(`Cannot measure oneDNN: ${times.length} products of ${m} x ${n} x ${k}, expected ${copies}`);
      }
      return times.reduce((sum, ms) => sum + ms, 0) / copies / 1000;
    },
    close: () => child.close(),
  };
}

export async function benchGemm(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", default: "" },
      rounds: { type: "string", default: "7" },
      threads: { type: "string", default: String(navigator.hardwareConcurrency) },
    },
  });
  const threads = Number(values.threads);
  const program = await buildBench({ progress: (line) => console.log(line) });
  const machine = await Machine.open(threads);
  const ours = openOurs(program, threads);
  const theirs = await openOneDnn(threads);
  const rows: string[][] = [];
  try {
    for (const shape of shapes()) {
      const { name, m, n, k } = shape;
      if (!`${name} ${m}`.includes(values.only)) continue;
      const isCold = m < MANY_ROWS;
      const copies = isCold ? Math.ceil(COLD_BYTES / (2 * n * k)) : 2;
      const sides = [ours, theirs];
      for (const side of sides) await side.time(shape, copies);
      const [seconds, limits]: [number[][], number[]] = [[[], []], []];
      for (let round = 0; round < Number(values.rounds); round++) {
        const { readGBs, bf16GFlops } = await machine.limits();
        limits.push(1e9 * (isCold ? readGBs : bf16GFlops));
        for (const [i, side] of sides.entries()) seconds[i]!.push(await side.time(shape, copies));
      }
      const amount = isCold ? 2 * n * k : 2 * m * n * k;
      const rate = (side: number) => (amount / median(seconds[side]!) / 1e9).toFixed(isCold ? 1 : 0);
      const ratio = median(seconds[0]!.map((mine, round) => seconds[1]![round]! / mine));
      rows.push([
        name,
        `${m} x ${n} x ${k}`,
        rate(0),
        rate(1),
        isCold ? "GB/s" : "GFLOP/s",
        (median(limits) / 1e9).toFixed(isCold ? 1 : 0),
        `${ratio.toFixed(2)}x`,
        ratio >= 1 ? "ours" : "oneDNN",
      ]);
    }
  } finally {
    await Promise.all([ours.close(), theirs.close(), machine.close()]);
  }
  printTable(["", "M x N x K", "ours", "oneDNN", "", "machine", "ours is", "faster"], rows);
}

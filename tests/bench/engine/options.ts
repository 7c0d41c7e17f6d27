/** Owns the flags of `deno task bench engine`. */
import { parseArgs } from "node:util";

const PARTS = ["vision", "prefill", "decode"] as const;
const DTYPES = ["bf16", "int8", "nf4"] as const;
export type Part = (typeof PARTS)[number];
export type BenchDtype = (typeof DTYPES)[number];

export interface EngineBenchOptions {
  readonly parts: readonly Part[];
  readonly dtypes: readonly BenchDtype[];
  readonly contexts: readonly number[];
  readonly batches: readonly number[];
  readonly rounds: number;
  readonly threads: number;
  readonly headDtype: "auto" | "int8";
  readonly steps: number;
  readonly transformers: boolean;
  readonly llama: boolean;
  /** File for every run's figures. */
  readonly json?: string;
  /** Folder of an existing llama.cpp source tree with `build/bin`; built from source where absent. */
  readonly llamaFolder?: string;
  /** A Python that has what requirements.txt lists; a private one is made where absent. */
  readonly python?: string;
}

export const USAGE = `usage: deno task bench engine [flags]
  --only vision,prefill,decode   parts to measure (default all)
  --dtype bf16,int8,nf4          our types of weights (default all)
  --context 300,3400             tokens of context (default both)
  --batch 1,8                    sequences decoded together (default both)
  --rounds N                     runs of each figure (default 5)
  --steps N                      decoding steps a run (default 24)
  --json FILE                    every run's figures, for programs
  --threads N                    threads of every side (default all cores)
  --head int8                    our output head in int8, as llama.cpp's quantised files have it (default auto: 16 bits)
  --no-peers                     without transformers and llama.cpp
  --no-transformers, --no-llama  without one of them
  --llama FOLDER                 llama.cpp source tree that is built already, in its folder build
  --python PATH                  Python that has tests/bench/engine/requirements.txt already`;

/** @throws Error that says which flag is wrong */
export function parseOptions(args: readonly string[]): EngineBenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", default: PARTS.join() },
      dtype: { type: "string", default: DTYPES.join() },
      context: { type: "string", default: "300,3400" },
      batch: { type: "string", default: "1,8" },
      rounds: { type: "string", default: "5" },
      steps: { type: "string", default: "24" },
      threads: { type: "string", default: String(navigator.hardwareConcurrency) },
      head: { type: "string", default: "auto" },
      "no-peers": { type: "boolean", default: false },
      "no-transformers": { type: "boolean", default: false },
      "no-llama": { type: "boolean", default: false },
      json: { type: "string" },
      llama: { type: "string" },
      python: { type: "string" },
    },
  });
  return {
    parts: choices("only", values.only, PARTS),
    dtypes: choices("dtype", values.dtype, DTYPES),
    contexts: numbers("context", values.context),
    batches: numbers("batch", values.batch),
    rounds: numbers("rounds", values.rounds)[0]!,
    steps: numbers("steps", values.steps)[0]!,
    threads: numbers("threads", values.threads)[0]!,
    headDtype: choices("head", values.head, ["auto", "int8"] as const)[0]!,
    transformers: !values["no-peers"] && !values["no-transformers"],
    llama: !values["no-peers"] && !values["no-llama"],
    ...(values.json === undefined ? {} : { json: values.json }),
    ...(values.llama === undefined ? {} : { llamaFolder: values.llama }),
    ...(values.python === undefined ? {} : { python: values.python }),
  };
}

function choices<T extends string>(flag: string, text: string, known: readonly T[]): T[] {
  return text.split(",").map((word) => {
    const found = known.find((name) => name === word);
    if (found === undefined) throw new Error(`Cannot read --${flag}: "${word}", expected some of ${known.join()}`);
    return found;
  });
}

function numbers(flag: string, text: string): number[] {
  return text.split(",").map((word) => {
    if (!/^[1-9]\d{0,5}$/.test(word)) throw new Error(`Cannot read --${flag}: "${word}", expected a whole number`);
    return Number(word);
  });
}

/** Owns the flags of `deno task bench load`. */
import { parseArgs } from "node:util";

const DTYPES = ["bf16", "int8", "nf4"] as const;

export interface LoadBenchOptions {
  readonly dtypes: readonly (typeof DTYPES)[number][];
  readonly rounds: number;
  /** llama.cpp source tree that is built already, and a Python that has its gguf-py's requirements. */
  readonly llama?: { readonly folder: string; readonly python: string };
}

export const USAGE = `usage: deno task bench load [flags]
  --dtype bf16,int8,nf4   types of weights (default all)
  --rounds N              starts from the cache (default 5)
  --llama FOLDER          llama.cpp source tree that is built already, in its folder build; with
  --python PATH           a Python that has tests/bench/engine/requirements.txt`;

/** @throws Error that says which flag is wrong */
export function parseOptions(args: readonly string[]): LoadBenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      dtype: { type: "string", default: DTYPES.join() },
      rounds: { type: "string", default: "5" },
      llama: { type: "string" },
      python: { type: "string", default: "python3" },
    },
  });
  const dtypes = values.dtype.split(",").map((word) => {
    const found = DTYPES.find((name) => name === word);
    if (found === undefined) throw new Error(`Cannot read --dtype: "${word}", expected some of ${DTYPES.join()}`);
    return found;
  });
  if (!/^[1-9]\d?$/.test(values.rounds)) {
    throw new Error(`Cannot read --rounds: "${values.rounds}", expected a whole number below 100`);
  }
  const { llama, python } = values;
  return {
    dtypes,
    rounds: Number(values.rounds),
    ...(llama === undefined ? {} : { llama: { folder: llama, python } }),
  };
}

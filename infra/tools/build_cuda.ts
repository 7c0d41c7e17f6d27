/**
 * Compiles all kernels for every architecture and prints registers, shared memory and spills of each:
 * `deno task build:cuda [ARCH...]`; `--families` takes all kernels of one name together, as the README has them. With
 * `--libraries` also holds what the engine declares of cuBLASLt and NCCL against NVIDIA's own headers and libraries, which are
 * fetched (900 MB on disk). Exit code 1 where a kernel spills, or anything differs.
 */
import { ARCHS, checkDeclarations, compileKernels, familyTable, findSpills, usageTable } from "@tessera/native";
import { ensureCudaLibraries } from "./cuda.ts";
import { requireToolkit } from "./cuda_toolkit.ts";

async function main(args: readonly string[]): Promise<number> {
  const named = args.filter((arg) => !["--libraries", "--families", "--"].includes(arg));
  const unknown = named.filter((arg) => !ARCHS.some((arch) => arch === arg));
  if (unknown.length > 0) throw new Error(`Cannot compile for ${unknown.join(", ")}: expected ${ARCHS.join(", ")}`);
  const archs = ARCHS.filter((arch) => named.length === 0 || named.includes(arch));
  const toolkit = await requireToolkit();
  const { usages } = await compileKernels({ toolkit, archs, progress: console.error });
  const table = args.includes("--families") ? familyTable : usageTable;
  console.log(`Registers / bytes of shared variables, nvcc ${toolkit.version}:\n\n${table(usages)}`);
  const faults = findSpills(usages);
  for (const fault of faults) console.error(fault);
  if (args.includes("--libraries")) {
    const told = await checkDeclarations({ toolkit, libraries: await ensureCudaLibraries() });
    console.log(`\n${told.trimEnd()}`);
  }
  return faults.length > 0 ? 1 : 0;
}

if (import.meta.main) {
  Deno.exitCode = await main(Deno.args).catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    return 1;
  });
}

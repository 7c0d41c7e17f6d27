/**
 * Compiles all kernels for every architecture and prints registers, shared memory and spills of each:
 * `deno task build:cuda [ARCH...]`. Exit code 1 where a hot kernel spills.
 */
import { ARCHS, compileKernels } from "./build.ts";
import { findSpills, usageTable } from "./ptxas.ts";
import { findToolkit } from "./toolkit.ts";

if (import.meta.main) {
  try {
    const unknown = Deno.args.filter((arg) => !ARCHS.some((arch) => arch === arg));
    if (unknown.length > 0) throw new Error(`Cannot compile for ${unknown.join(", ")}: expected ${ARCHS.join(", ")}`);
    const archs = ARCHS.filter((arch) => Deno.args.length === 0 || Deno.args.includes(arch));
    const found = await findToolkit(console.error);
    if (found === undefined) {
      throw new Error("Cannot compile kernels: no nvcc, expected one (deno task setup --cuda)");
    }
    const { toolkit } = found;
    const { usages } = await compileKernels({ toolkit, archs, progress: (line) => console.error(line) });
    console.log(`Registers / bytes of shared variables, nvcc ${toolkit.version}:\n\n${usageTable(usages)}`);
    const faults = findSpills(usages);
    for (const fault of faults) console.error(fault);
    if (faults.length > 0) Deno.exit(1);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}

/** Owns what GPU this machine has, as the driver tells it. */
import { type Arch, ARCHS } from "@tessera/native";
import { findOnPath, run } from "../../infra/tools/process.ts";

/** Exit code of commands that need a GPU where there is none: nothing was run, nothing failed. */
export const NO_GPU = 77;

export interface GpuCard {
  readonly name: string;
  readonly driver: string;
  /** As 9.0 */
  readonly capability: string;
  readonly memoryMiB: number;
}

/** The first card, or why there is none. */
export async function findGpu(): Promise<GpuCard | { readonly missing: string }> {
  const program = await findOnPath("nvidia-smi");
  if (program === null) return { missing: "nvidia-smi is not on PATH, so there is no NVIDIA driver" };
  const query = ["--query-gpu=name,driver_version,compute_cap,memory.total", "--format=csv,noheader,nounits"];
  try {
    return parseCard(await run(program, query));
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) };
  }
}

/** Reads nvidia-smi's first line. @throws Error where it is another */
export function parseCard(csv: string): GpuCard {
  const [name, driver, capability, memory] = (csv.split("\n")[0] ?? "").split(",").map((cell) => cell.trim());
  const memoryMiB = Number(memory);
  if (!name || !driver || !/^\d+\.\d+$/.test(capability ?? "") || !(memoryMiB > 0)) {
    throw new Error(`Cannot read nvidia-smi's answer: ${csv.split("\n")[0]}`);
  }
  return { name, driver, capability: capability!, memoryMiB };
}

/** What kernels are compiled for to run there: the newest architecture of the card's generation that is not newer. */
export function archOf({ capability }: GpuCard): Arch {
  const [major = 0, minor = 0] = capability.split(".").map(Number);
  const own = ARCHS.filter((arch) => {
    const number = Number.parseInt(arch);
    return Math.floor(number / 10) === major && number % 10 <= minor;
  });
  // Others run the PTX of this one.
  return own.at(-1) ?? "100";
}

/** Ends the program where there is no GPU, after saying so. */
export async function requireGpu(command: string): Promise<GpuCard> {
  const found = await findGpu();
  if (!("missing" in found)) return found;
  console.error(`${command}: no GPU here, nothing was run (${found.missing}).`);
  Deno.exit(NO_GPU);
}

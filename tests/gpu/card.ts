/** Owns what GPUs this machine has, as the driver tells it. */
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
  /** Cards in the machine; what is told is of the first. */
  readonly count: number;
}

/** The first card, or why there is none. */
export async function findGpu(): Promise<GpuCard | { readonly missing: string }> {
  const program = await findOnPath("nvidia-smi");
  if (program === null) return { missing: "nvidia-smi is not on PATH, so there is no NVIDIA driver" };
  const query = ["--query-gpu=name,driver_version,compute_cap,memory.total", "--format=csv,noheader,nounits"];
  // Programs see these alone; nvidia-smi does not heed it by itself.
  const visible = Deno.env.get("CUDA_VISIBLE_DEVICES") ?? "";
  try {
    return parseCard(await run(program, visible === "" ? query : [`--id=${visible}`, ...query]));
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) };
  }
}

/** Reads nvidia-smi's answer, a line a card. @throws Error where it is another, or the first card is too old */
export function parseCard(csv: string): GpuCard {
  const lines = csv.trim().split("\n");
  const [name, driver, capability, memory] = lines[0]!.split(",").map((cell) => cell.trim());
  const memoryMiB = Number(memory);
  if (!name || !driver || !/^\d+\.\d+$/.test(capability ?? "") || !(memoryMiB > 0)) {
    throw new Error(`Cannot read nvidia-smi's answer: ${lines[0]}`);
  }
  if (Number.parseInt(capability!) < 8) {
    throw new Error(`Cannot use ${name}: its compute capability is ${capability}, expected 8.0 or newer`);
  }
  return { name, driver, capability: capability!, memoryMiB, count: lines.length };
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

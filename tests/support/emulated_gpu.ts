/** Programs whose kernels run on the emulated GPU: where they can be built, and how they are run. */
import { buildEmulatedAddon } from "@tessera/native";
import { ensureCudaHeaders } from "../../infra/tools/cuda.ts";

/** The emulator switches stacks in x86-64 assembly, and NVIDIA's headers come for Linux. */
export const hasEmulatedGpu = Deno.build.arch === "x86_64" && Deno.build.os === "linux";

/** Emulated GPUs that the addon finds. */
const NUM_DEVICES = 4;

let addon: Promise<string> | undefined;

/** Path of the addon that `deno task test:gpu` wants tested on this machine's GPUs; undefined elsewhere. */
const gpuAddon = Deno.env.get("TESSERA_TEST_GPU");

/** Whether tests of the CUDA backend run on this machine's GPUs. */
export const isOnGpu = gpuAddon !== undefined;

/** GPUs that tests of the CUDA backend have. */
export const numGpus = isOnGpu ? Number(Deno.env.get("TESSERA_TEST_GPUS") ?? 1) : NUM_DEVICES;

/** The addon with the CUDA backend on emulated GPUs, built where anything changed; on a GPU the one to be tested. */
export function emulatedAddon(): Promise<string> {
  if (gpuAddon !== undefined) return Promise.resolve(gpuAddon);
  // Read when the addon first looks for devices.
  if (Deno.env.get("CUEMU_DEVICES") === undefined) Deno.env.set("CUEMU_DEVICES", `${NUM_DEVICES}`);
  addon ??= ensureCudaHeaders().then((headers) => buildEmulatedAddon({ headers, progress: console.log }));
  return addon;
}

export interface EmulatedRun {
  readonly ok: boolean;
  readonly output: string;
}

/**
 * Runs a program on two devices with the emulator's settings in `env`; one that computes longer than
 * `limitSeconds` is ended.
 */
export async function runEmulated(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  limitSeconds?: number,
): Promise<EmulatedRun> {
  // A report must not wait for a core dump, nor a symbol server.
  const limited = ["-c", `ulimit -t ${limitSeconds}; exec "$0" "$@"`, program, ...args];
  const { success, stdout, stderr } = await new Deno.Command(limitSeconds === undefined ? program : "sh", {
    args: limitSeconds === undefined ? [...args] : limited,
    env: { CUEMU_DEVICES: "2", ASAN_OPTIONS: "detect_leaks=0:symbolize=0:disable_coredump=1", ...env },
  }).output();
  const text = new TextDecoder();
  return { ok: success, output: text.decode(stdout) + text.decode(stderr) };
}

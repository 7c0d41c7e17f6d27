/** Compiles CUDA sources with nvcc: kernels for the addon, with what ptxas says of each, and programs that test and time them. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileAll, link } from "../compile.ts";
import { ENGINE, KERNEL_DEFINITIONS, listFolder } from "../sources.ts";
import { findToolchain, type Toolchain } from "../toolchain.ts";
import { type KernelUsage, parsePtxas, withSourceNames } from "./ptxas.ts";
import type { Toolkit } from "./toolkit.ts";

const BUILD = fileURLToPath(new URL("../build/cuda", import.meta.url));

/**
 * Cards that kernels are compiled for: A100; L4 and L40S; H100 and H200; B200; RTX 50. Code of one runs on later ones of
 * the same generation.
 */
export const ARCHS = ["80", "89", "90a", "100", "120"] as const;
export type Arch = typeof ARCHS[number];

/** Also kept as PTX, which drivers compile for cards that are none of these. */
const PTX_ARCH: Arch = "100";

/** Kernels as objects, with the figures of each. */
export interface CompiledKernels {
  readonly objects: readonly string[];
  readonly usages: readonly KernelUsage[];
}

export interface KernelBuildOptions {
  readonly toolkit: Toolkit;
  /** Whose C++ compiler nvcc uses for host code; the machine's where it is not named. */
  readonly toolchain?: Toolchain;
  readonly archs?: readonly Arch[];
  /** Told of each step, one line each. */
  readonly progress?: (line: string) => void;
}

/** Compiles what changed. @throws Error with the compiler's own words */
export async function compileKernels(options: KernelBuildOptions): Promise<CompiledKernels> {
  const sources = await listFolder(join(ENGINE, "ops/cuda/kernels"), undefined, ".cu");
  const objects = await compileCuda(sources, options);
  const outputs = await Promise.all(objects.map((object) => Deno.readTextFile(`${object}.log`)));
  return { objects, usages: await withSourceNames(outputs.flatMap(parsePtxas)) };
}

/** Objects of CUDA sources, in their order, each with what ptxas said in `<object>.log`. */
async function compileCuda(sources: readonly string[], options: KernelBuildOptions): Promise<string[]> {
  const { toolkit, archs = ARCHS, progress = () => {} } = options;
  const folder = join(BUILD, archs.join("-"));
  await Deno.mkdir(folder, { recursive: true });
  const toolchain = options.toolchain ?? await findToolchain(folder);
  using lock = await Deno.open(join(folder, "lock"), { write: true, create: true });
  await lock.lock(true);
  const flags = [
    "-std=c++20",
    "-O3",
    "-lineinfo",
    "-ccbin",
    toolchain.compiler,
    "-Xcompiler=-fPIC,-fvisibility=hidden",
    "-Xptxas=-v",
    ...archs.flatMap((arch) => ["-gencode", `arch=compute_${arch},code=${codeOf(arch)}`]),
    `-I${ENGINE}`,
    `-I${join(ENGINE, "include")}`,
  ];
  const compiler = { compiler: toolkit.nvcc, version: `${toolkit.version} ${toolchain.version}` };
  const jobs = sources.map((path) => ({ path, flags }));
  return await compileAll(jobs, { toolchain: compiler, folder, progress, keepsOutput: true });
}

/** Programs that need a GPU when they run: the kernels' tests and their benchmark. */
export interface DevicePrograms {
  readonly tests: string;
  readonly bench: string;
}

/** Builds them with nvcc for the cards named. */
export async function buildDevicePrograms(options: KernelBuildOptions): Promise<DevicePrograms> {
  const { toolkit, archs = ARCHS, progress = () => {} } = options;
  const folder = join(BUILD, archs.join("-"));
  await Deno.mkdir(folder, { recursive: true });
  const toolchain = options.toolchain ?? await findToolchain(folder);
  const kernels = (await compileKernels({ ...options, toolchain })).objects;
  const testSources = await listFolder(join(ENGINE, "ops/cuda/tests"), undefined, ".cu");
  const benchSource = fileURLToPath(new URL("../bench/gpu/kernels.cu", import.meta.url));
  const compiled = await compileCuda([...testSources, benchSource], { ...options, toolchain });
  const hostSources = [
    ...await listFolder(join(ENGINE, "ops/reference")),
    ...KERNEL_DEFINITIONS,
    ...["tests/check.cpp", "tests/main.cpp"].map((path) => join(ENGINE, path)),
  ];
  const flags = ["-std=c++20", "-O2", "-fPIC", `-I${ENGINE}`, `-I${join(ENGINE, "include")}`];
  const jobs = hostSources.map((path) => ({ path, flags }));
  const host = await compileAll(jobs, { toolchain, folder, progress });
  const linked = { flags: ["-pthread"], libraries: linkFlags(toolkit), toolchain, progress };
  const tests = join(folder, "kernel_tests");
  await link({ ...linked, output: tests, objects: [...kernels, ...compiled.slice(0, -1), ...host] });
  const bench = join(folder, "kernel_bench");
  await link({ ...linked, output: bench, objects: [...kernels, compiled.at(-1)!] });
  return { tests, bench };
}

function codeOf(arch: Arch): string {
  return arch === PTX_ARCH ? `[sm_${arch},compute_${arch}]` : `sm_${arch}`;
}

/** Flags that link the CUDA runtime into the addon; the driver is looked for when it is first needed. */
export function linkFlags({ lib }: Toolkit): string[] {
  return [`-L${lib}`, "-lcudart_static", "-ldl", "-lrt"];
}

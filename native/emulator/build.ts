/** Builds programs whose CUDA kernels run on the emulator, as they are, with sanitizers, or with the race detector. */
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ADDON_LINK_FLAGS, compileEngine } from "../build.ts";
import { compileAll, type CompileJob, link } from "../compile.ts";
import { EMULATOR, ENGINE, KERNEL_DEFINITIONS, listCudaSources, listFolder } from "../sources.ts";
import { findToolchain, type Toolchain } from "../toolchain.ts";

/** Where programs lie, a folder a variant. */
export const BUILD: string = fileURLToPath(new URL("../build/emulated", import.meta.url));

/** `fast`; `sanitize`: address and undefined behaviour; `race`: what no barrier orders, and memory nobody wrote. */
export type Variant = "fast" | "sanitize" | "race";

export interface EmulatedBuildOptions {
  /** Folder of NVIDIA's headers. */
  readonly headers: string;
  readonly progress?: (line: string) => void;
}

const FLAGS = [
  "-std=c++20",
  // Lines for reports; what else debuggers want takes a quarter of the build.
  "-g1",
  "-Wall",
  "-Wextra",
  "-Wno-missing-field-initializers",
  // Kernels read bytes as what they are not; without this gcc makes silently wrong code of them.
  "-fno-strict-aliasing",
  "-DTESSERA_EMULATED_GPU",
  "-fvisibility=hidden",
  "-pthread",
  "-fPIC",
  // Those for nvcc.
  "-Wno-unknown-pragmas",
];
/** What a called function returns gcc stores unwatched, so small ones must be inlined. */
const WATCHED = ["-O1", "-finline-functions", "-finline-small-functions", "-fsanitize=thread"];
/** Compiler and linker flags of the sanitizers. */
export const SANITIZE: readonly string[] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"];

/**
 * The build whose object of a source serves in another one too: the race detector watches kernels, not the host, and what
 * tests do with the answers no sanitizer need watch.
 */
function compiledAs(source: string, variant: Variant): Variant {
  const isHost = source.endsWith(".cpp") && source.startsWith(ENGINE);
  const isTest = /\/tests\/[^/]+$/.test(source);
  if (variant === "race" && isHost) return "fast";
  return variant === "sanitize" && isHost && isTest ? "fast" : variant;
}

/** Flags of a source. Kernels are instrumented for the race detector; the emulator itself, which reports to it, is not. */
export function flagsOf(source: string, variant: Variant, headers: string): string[] {
  const language = source.endsWith(".cu") ? ["-x", "c++"] : [];
  const flags = [
    ...FLAGS,
    ...language,
    `-I${EMULATOR}`,
    `-I${ENGINE}`,
    `-I${join(ENGINE, "include")}`,
    "-isystem",
    headers,
  ];
  const build = compiledAs(source, variant);
  if (build === "fast") return [...flags, "-O2"];
  if (build === "sanitize") {
    // Products of whole models are their time; what tests compute is watched for addresses alone, which compiles faster.
    const level = source.startsWith(join(EMULATOR, "libraries")) ? "-O2" : "-O1";
    const isTest = source.startsWith(join(ENGINE, "ops/cuda/tests"));
    return [...flags, level, ...(isTest ? ["-fsanitize=address"] : SANITIZE)];
  }
  const isEmulator = ["device", "runtime", "race", "libraries"].some((part) => source.startsWith(join(EMULATOR, part)));
  return [...flags, "-DCUEMU_RACE", ...(isEmulator ? ["-O2"] : WATCHED)];
}

/** The objects of sources, in their order, compiled where anything changed; nobody else compiles before `use` is done. */
export async function withObjects<T>(
  sources: readonly string[],
  variant: Variant,
  { headers, progress = () => {} }: EmulatedBuildOptions,
  use: (objects: string[], toolchain: Toolchain) => Promise<T>,
): Promise<T> {
  const folders = new Map<Variant, string>();
  using locks = new DisposableStack();
  // One order for all, so that no two wait for each other.
  for (const build of variant === "fast" ? ["fast"] as const : [variant, "fast"] as const) {
    const folder = join(BUILD, build);
    await Deno.mkdir(join(folder, "objects"), { recursive: true });
    const lock = locks.use(await Deno.open(join(folder, "lock"), { write: true, create: true }));
    await lock.lock(true);
    folders.set(build, folder);
  }
  const toolchain = await findToolchain(join(BUILD, variant));
  const objects = new Map<string, string>();
  for (const [build, folder] of folders) {
    const own = sources.filter((source) => compiledAs(source, variant) === build);
    const jobs = own.map((path): CompileJob => ({ path, flags: flagsOf(path, variant, headers) }));
    const compiled = await compileAll(jobs, { toolchain, folder: join(folder, "objects"), progress });
    own.forEach((source, i) => objects.set(source, compiled[i]!));
  }
  return await use(sources.map((source) => objects.get(source)!), toolchain);
}

/** What is linked beside the emulator and the sources. */
interface Beside {
  readonly objects?: readonly string[];
  readonly flags?: readonly string[];
}

/** Builds one program from the emulator and `sources`; returns its path. */
export async function buildEmulated(
  name: string,
  sources: readonly string[],
  variant: Variant,
  options: EmulatedBuildOptions,
  beside: Beside = {},
): Promise<string> {
  const parts = ["device", "libraries", "runtime", ...(variant === "race" ? ["race"] : [])];
  const emulator = await Promise.all(parts.map((part) => listFolder(join(EMULATOR, part))));
  // Of an inline function the linker keeps its first copy: let that be a kernel's, which the race detector watches.
  const isKernel = (path: string) => path.endsWith(".cu");
  const all = [...sources.filter(isKernel), ...sources.filter((path) => !isKernel(path)), ...emulator.flat()];
  const output = join(BUILD, variant, name);
  // The race detector's hooks stand in for the sanitizer's own runtime.
  const flags = ["-pthread", ...(variant === "sanitize" ? SANITIZE : []), ...beside.flags ?? []];
  const { progress = () => {} } = options;
  return await withObjects(all, variant, options, async (compiled, toolchain) => {
    await link({ output, objects: [...compiled, ...beside.objects ?? []], flags, toolchain, progress });
    return output;
  });
}

const HARNESS = ["engine/tests/check.cpp", "engine/tests/main.cpp"].map(inNative);

/** The emulator's own tests. */
export function buildEmulatorTests(variant: Variant, options: EmulatedBuildOptions): Promise<string> {
  const names = ["language", "libraries", "nccl", "runtime"];
  const sources = names.map((name) => inNative(`emulator/tests/${name}_test.cpp`));
  return buildEmulated("emulator_tests", [...sources, ...HARNESS], variant, options);
}

/** The engine's CUDA kernels against plain loops. */
export async function buildKernelTests(variant: Variant, options: EmulatedBuildOptions): Promise<string> {
  const kernels = await listFolder(join(ENGINE, "ops/cuda"), undefined, ".cu");
  const reference = await listFolder(join(ENGINE, "ops/reference"));
  return buildEmulated("kernel_tests", [...kernels, ...reference, ...KERNEL_DEFINITIONS, ...HARNESS], variant, options);
}

/** The kernels' benchmark, to see that it runs; its times mean nothing here. */
export async function buildEmulatedBench(options: EmulatedBuildOptions): Promise<string> {
  const kernels = await listFolder(join(ENGINE, "ops/cuda/kernels"), undefined, ".cu");
  return buildEmulated("kernel_bench", [...kernels, inNative("bench/gpu/kernels.cu")], "fast", options);
}

/** The addon with the whole CUDA backend in it, on emulated GPUs; all else are the objects of the engine's own addon. */
export async function buildEmulatedAddon(options: EmulatedBuildOptions): Promise<string> {
  const { toolchain, objects } = await compileEngine("addon", options);
  const flags = [...ADDON_LINK_FLAGS, ...toolchain.runtime];
  const beside = { objects: [...objects.values()], flags };
  return buildEmulated("tessera_emulated.node", await listCudaSources(), "fast", options, beside);
}

/** The whole engine over the CUDA backend against the CPU, as a program that sanitizers can watch. */
export async function buildBackendTests(variant: Variant, options: EmulatedBuildOptions): Promise<string> {
  const { sources, objects } = await backendTestParts(options);
  return await buildEmulated("backend_tests", sources, variant, options, { objects: [...objects.values()] });
}

/** The same with another text in place of one file of the engine, named from its root: `model/shard.cpp`. */
export async function buildChangedBackendTests(
  { file, text }: { readonly file: string; readonly text: string },
  options: EmulatedBuildOptions,
): Promise<string> {
  const { sources, objects } = await backendTestParts(options);
  const source = join(ENGINE, file);
  const others = sources.filter((path) => path !== source);
  if (!objects.delete(source) && others.length === sources.length) {
    throw new Error(`Cannot change ${file}: the tests are not made of it`);
  }
  const changed = join(BUILD, "changed", basename(file));
  await Deno.mkdir(dirname(changed), { recursive: true });
  await Deno.writeTextFile(changed, text);
  return await buildEmulated("changed_backend_tests", [...others, changed], "fast", options, {
    objects: [...objects.values()],
  });
}

/** What is compiled for the emulator, and the objects of all else. */
async function backendTestParts(options: EmulatedBuildOptions) {
  const { objects } = await compileEngine("tests", options);
  const harness = ["check", "main", "support", "tiny_model"].map((name) => join(ENGINE, `tests/${name}.cpp`));
  const engine = [...objects].filter(([source]) =>
    !source.startsWith(join(ENGINE, "tests")) || harness.includes(source)
  );
  const tests = await listFolder(join(ENGINE, "ops/cuda/tests"), undefined, ".cpp");
  return { sources: [...await listCudaSources(), ...tests], objects: new Map(engine) };
}

/** Kernels and calls with faults that the emulator must find. */
export function buildEmulatorFaults(variant: Variant, options: EmulatedBuildOptions): Promise<string> {
  return buildEmulated("emulator_faults", [inNative("emulator/tests/faults.cpp")], variant, options);
}

function inNative(path: string): string {
  return fileURLToPath(new URL(`../${path}`, import.meta.url));
}

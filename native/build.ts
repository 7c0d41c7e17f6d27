/**
 * Builds the C++ engine with nothing but a compiler: `build/tessera.node`, the addon, and `build/engine_tests`. Where there
 * is a CUDA toolkit the addon has the CUDA backend in it.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileAll, link } from "./compile.ts";
import { type Arch, compileKernels, linkFlags } from "./cuda/build.ts";
import { chooseToolkit, findToolkit, type Toolkit } from "./cuda/toolkit.ts";
import { ENGINE, instructionSet, isCudaSource, listSources, type TargetKind } from "./sources.ts";
import { findToolchain, type Toolchain } from "./toolchain.ts";

const BUILD = fileURLToPath(new URL("./build", import.meta.url));
const MODULES = fileURLToPath(new URL("../node_modules", import.meta.url));

/** Where the addon lies once it is built. */
export const addonPath: string = join(BUILD, "tessera.node");

/** How to build. */
export interface BuildOptions {
  /** Told of each step, one line each. */
  readonly progress?: (line: string) => void;
  /** Builds with sanitizers, in a folder of its own. */
  readonly sanitize?: Sanitizer;
  /** Builds for another processor, in a folder of its own; 64-bit ARM with Debian's cross compiler. */
  readonly arch?: "aarch64";
}

/** How to build an addon. */
export interface AddonOptions extends BuildOptions {
  /** File name in the build folder: `tessera.node`, the one that the worker opens. */
  readonly name?: string;
  /** CUDA toolkit and the architectures of its kernels; without it the machine's own, for all cards. */
  readonly cuda?: { readonly toolkit: Toolkit; readonly archs?: readonly Arch[] };
}

/** `address`: addresses and undefined behaviour; `thread`: data races. */
export type Sanitizer = "address" | "thread";

/** One thing to link. */
interface Target {
  readonly kind: TargetKind;
  readonly output: string;
  readonly linkFlags: readonly string[];
  readonly cuda?: NonNullable<AddonOptions["cuda"]> | undefined;
}

const COMMON_FLAGS = [
  "-std=c++20",
  "-O3",
  "-fPIC",
  "-fno-plt",
  "-fvisibility=hidden",
  "-fno-math-errno",
  "-pthread",
  "-Wall",
  "-Wextra",
  // Vectors are passed between functions of one file alone.
  "-Wno-psabi",
  "-Wno-missing-field-initializers",
];
const SANITIZE_FLAGS: Readonly<Record<Sanitizer, readonly string[]>> = {
  address: ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
  thread: ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=thread"],
};

/** What makes a shared library that JavaScript can load. */
export const ADDON_LINK_FLAGS: readonly string[] = Deno.build.os === "darwin"
  ? ["-dynamiclib", "-undefined", "dynamic_lookup"]
  : ["-shared"];

/** Builds the addon where anything changed; returns its path. */
export async function buildAddon(options: AddonOptions = {}): Promise<string> {
  const output = join(outputFolder(options), options.name ?? "tessera.node");
  const isForHere = options.sanitize === undefined && options.arch === undefined;
  const found = options.cuda === undefined && isForHere ? await findToolkit(options.progress) : undefined;
  const target = { kind: "addon", output, linkFlags: ADDON_LINK_FLAGS } as const;
  try {
    const cuda = options.cuda ?? (found === undefined ? undefined : { toolkit: found.toolkit });
    return await build({ ...target, cuda }, options);
  } catch (error) {
    if (found === undefined || found.isChosen) throw error;
    // A toolkit that nobody asked for must not be in the way of the CPU's engine.
    options.progress?.(
      `without CUDA, since ${found.toolkit.nvcc} fails: ${error instanceof Error ? error.message : error}`,
    );
    return await build(target, options);
  }
}

/** Builds the engine's C++ tests where anything changed; returns the program's path. */
export function buildEngineTests(options: BuildOptions = {}): Promise<string> {
  return build({ kind: "tests", output: join(outputFolder(options), "engine_tests"), linkFlags: [] }, options);
}

/** Builds the benchmark where anything changed; returns the program's path. */
export function buildBench(options: BuildOptions = {}): Promise<string> {
  return build({ kind: "bench", output: join(outputFolder(options), "engine_bench"), linkFlags: [] }, options);
}

function outputFolder(options: BuildOptions): string {
  if (options.arch !== undefined && options.arch !== Deno.build.arch) return join(BUILD, options.arch);
  return options.sanitize ? join(BUILD, `sanitize-${options.sanitize}`) : BUILD;
}

async function build(target: Target, options: BuildOptions): Promise<string> {
  using _lock = await lockFolder(outputFolder(options));
  const { toolchain, objects } = await compile(target, options);
  const { progress = () => {} } = options;
  const { cuda } = target;
  const kernels = cuda === undefined ? [] : (await compileKernels({ ...cuda, toolchain, progress })).objects;
  const flags = [
    ...target.linkFlags,
    "-pthread",
    ...(options.sanitize ? SANITIZE_FLAGS[options.sanitize] : toolchain.runtime),
  ];
  const libraries = cuda === undefined ? [] : linkFlags(cuda.toolkit);
  await link({
    output: target.output,
    objects: [...objects.values(), ...kernels],
    flags,
    libraries,
    toolchain,
    progress,
  });
  return target.output;
}

/** Source and object of everything in a target without CUDA, for programs that link another backend to it. */
export async function compileEngine(kind: TargetKind, options: Pick<BuildOptions, "progress"> = {}): Promise<Compiled> {
  using _lock = await lockFolder(BUILD);
  return await compile({ kind, output: "", linkFlags: [] }, options);
}

/** The kernel gives the lock up when its holder dies, however that happens. */
async function lockFolder(folder: string): Promise<Deno.FsFile> {
  await Deno.mkdir(join(folder, "objects"), { recursive: true });
  const lock = await Deno.open(join(folder, "lock"), { write: true, create: true });
  await lock.lock(true);
  return lock;
}

/** What a target is linked from. */
export interface Compiled {
  readonly toolchain: Toolchain;
  /** Object of each source, in a fixed order. */
  readonly objects: ReadonlyMap<string, string>;
}

async function compile(target: Target, options: BuildOptions): Promise<Compiled> {
  const folder = outputFolder(options);
  const toolchain = await findToolchain(folder, options.arch);
  const { progress = () => {} } = options;
  const sources = (await listSources(target.kind, target.cuda !== undefined)).filter((source) => {
    const set = instructionSet(source);
    return set === undefined || set in toolchain.sets;
  });
  const jobs = sources.map((path) => ({
    path,
    flags: compileFlags(path, target, toolchain, options.sanitize),
  }));
  const objects = await compileAll(jobs, { toolchain, folder: join(folder, "objects"), progress });
  return { toolchain, objects: new Map(sources.map((source, i) => [source, objects[i]!])) };
}

function compileFlags(source: string, target: Target, toolchain: Toolchain, sanitize?: Sanitizer): string[] {
  const set = instructionSet(source);
  const flags = [...COMMON_FLAGS, ...(set === undefined ? toolchain.baseline : toolchain.sets[set]!)];
  // GCC takes its own intrinsics' "undefined" operands for mistakes.
  if (set !== undefined) flags.push("-Wno-uninitialized", "-Wno-maybe-uninitialized");
  // Nobody waits for a test as long as for its compiler.
  if (target.kind === "tests" && source.startsWith(join(ENGINE, "tests"))) flags.push("-O1");
  if (sanitize) flags.push(...SANITIZE_FLAGS[sanitize]);
  flags.push(`-I${ENGINE}`, `-I${join(ENGINE, "include")}`);
  if (target.cuda !== undefined && isCudaSource(source)) flags.push("-isystem", target.cuda.toolkit.include);
  if (target.kind === "addon" && source.startsWith(join(ENGINE, "addon"))) {
    // Resolved, so that a new version of a package is a new path, and with it a new hash.
    const headers = Deno.realPathSync(join(MODULES, "node-api-headers"));
    const wrapper = Deno.realPathSync(join(MODULES, "node-addon-api"));
    flags.push("-DNAPI_VERSION=8", "-DNAPI_CPP_EXCEPTIONS", "-isystem", join(headers, "include"), "-isystem", wrapper);
  }
  return flags;
}

if (import.meta.main) {
  const start = performance.now();
  const options: BuildOptions = { progress: (line) => console.log(line) };
  try {
    const cuda = Deno.args.indexOf("--cuda");
    if (cuda >= 0) await chooseToolkit(Deno.args[cuda + 1] ?? "/usr/local/cuda");
    console.log(await buildAddon(options));
    console.log(await buildEngineTests(options));
    if (Deno.args.includes("--bench")) console.log(await buildBench(options));
    console.log(`${((performance.now() - start) / 1_000).toFixed(1)} s`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}

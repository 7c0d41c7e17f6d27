/** Builds the C++ engine with nothing but a compiler: `build/tessera.node`, the addon, and `build/engine_tests`. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileAll, link } from "./compile.ts";
import { ENGINE, instructionSet, listSources, type TargetKind } from "./sources.ts";
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

/** `address`: addresses and undefined behaviour; `thread`: data races. */
export type Sanitizer = "address" | "thread";

/** One thing to link. */
interface Target {
  readonly kind: TargetKind;
  readonly output: string;
  readonly linkFlags: readonly string[];
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

/** Builds the addon where anything changed; returns its path. */
export function buildAddon(options: BuildOptions = {}): Promise<string> {
  const folder = outputFolder(options);
  const shared = Deno.build.os === "darwin" ? ["-dynamiclib", "-undefined", "dynamic_lookup"] : ["-shared"];
  return build({ kind: "addon", output: join(folder, "tessera.node"), linkFlags: shared }, options);
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
  const folder = outputFolder(options);
  const objects = join(folder, "objects");
  await Deno.mkdir(objects, { recursive: true });
  // The kernel gives the lock up when its holder dies, however that happens.
  using lock = await Deno.open(join(folder, "lock"), { write: true, create: true });
  await lock.lock(true);
  const toolchain = await findToolchain(folder, options.arch);
  const sources = (await listSources(target.kind)).filter((source) => {
    const set = instructionSet(source);
    return set === undefined || set in toolchain.sets;
  });
  const { progress = () => {} } = options;
  const jobs = sources.map((path) => ({
    path,
    flags: compileFlags(path, target, toolchain, options.sanitize),
  }));
  const paths = await compileAll(jobs, { toolchain, folder: objects, progress });
  const flags = [
    ...target.linkFlags,
    "-pthread",
    ...(options.sanitize ? SANITIZE_FLAGS[options.sanitize] : toolchain.runtime),
  ];
  await link({ output: target.output, objects: paths, flags, toolchain, progress });
  return target.output;
}

function compileFlags(source: string, target: Target, toolchain: Toolchain, sanitize?: Sanitizer): string[] {
  const set = instructionSet(source);
  const flags = [...COMMON_FLAGS, ...(set === undefined ? toolchain.baseline : toolchain.sets[set]!)];
  // GCC takes its own intrinsics' "undefined" operands for mistakes.
  if (set !== undefined) flags.push("-Wno-uninitialized", "-Wno-maybe-uninitialized");
  if (sanitize) flags.push(...SANITIZE_FLAGS[sanitize]);
  flags.push(`-I${ENGINE}`, `-I${join(ENGINE, "include")}`);
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
    console.log(await buildAddon(options));
    console.log(await buildEngineTests(options));
    if (Deno.args.includes("--bench")) console.log(await buildBench(options));
    console.log(`${((performance.now() - start) / 1_000).toFixed(1)} s`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}

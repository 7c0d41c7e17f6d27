/** Builds the C++ engine with nothing but a compiler: `build/tessera.node`, the addon, and `build/engine_tests`. */
import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import { basename, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { ENGINE, instructionSet, listSources, SourceHasher, type TargetKind } from "./sources.ts";
import { findToolchain, run, type Toolchain } from "./toolchain.ts";

const NATIVE = fileURLToPath(new URL(".", import.meta.url));
const BUILD = fileURLToPath(new URL("./build", import.meta.url));
const MODULES = fileURLToPath(new URL("../node_modules", import.meta.url));

/** Where the addon lies once it is built. */
export const addonPath: string = join(BUILD, "tessera.node");

/** How to build. */
export interface BuildOptions {
  /** Told of each step, one line each. */
  readonly progress?: (line: string) => void;
  /** Builds with the address and undefined-behaviour sanitizers, in a folder of its own. */
  readonly sanitize?: boolean;
}

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
const SANITIZE_FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"];

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
  return options.sanitize ? join(BUILD, "sanitize") : BUILD;
}

async function build(target: Target, options: BuildOptions): Promise<string> {
  const folder = outputFolder(options);
  const objects = join(folder, "objects");
  await Deno.mkdir(objects, { recursive: true });
  // The kernel gives the lock up when its holder dies, however that happens.
  using lock = await Deno.open(join(folder, "lock"), { write: true, create: true });
  await lock.lock(true);
  const toolchain = await findToolchain(folder);
  const paths = await compileAll(target, toolchain, objects, options);
  await link(target, toolchain, paths, options);
  return target.output;
}

function compileFlags(source: string, target: Target, toolchain: Toolchain, sanitize: boolean): string[] {
  const set = instructionSet(source);
  const flags = [...COMMON_FLAGS, ...(set === undefined ? toolchain.baseline : toolchain.sets[set]!)];
  // GCC takes its own intrinsics' "undefined" operands for mistakes.
  if (set !== undefined) flags.push("-Wno-uninitialized", "-Wno-maybe-uninitialized");
  if (sanitize) flags.push(...SANITIZE_FLAGS);
  flags.push(`-I${ENGINE}`, `-I${join(ENGINE, "include")}`);
  if (target.kind === "addon" && source.startsWith(join(ENGINE, "addon"))) {
    // Resolved, so that a new version of a package is a new path, and with it a new hash.
    const headers = Deno.realPathSync(join(MODULES, "node-api-headers"));
    const wrapper = Deno.realPathSync(join(MODULES, "node-addon-api"));
    flags.push("-DNAPI_VERSION=8", "-DNAPI_CPP_EXCEPTIONS", "-isystem", join(headers, "include"), "-isystem", wrapper);
  }
  return flags;
}

/** Compiles what changed, as many files at once as there are cores; returns the object of every source. */
async function compileAll(
  target: Target,
  toolchain: Toolchain,
  folder: string,
  options: BuildOptions,
): Promise<string[]> {
  const sources = (await listSources(target.kind)).filter((source) => {
    const set = instructionSet(source);
    return set === undefined || set in toolchain.sets;
  });
  const hasher = new SourceHasher();
  const jobs = await Promise.all(sources.map(async (source) => {
    const flags = compileFlags(source, target, toolchain, options.sanitize ?? false);
    const hash = await hasher.hash(source, [toolchain.compiler, toolchain.version, ...flags].join(" "));
    const name = relative(NATIVE, source).replaceAll("/", "-").replace(/\.cpp$/, "");
    return { source, flags, name, object: join(folder, `${name}-${hash}.o`) };
  }));
  const existing = new Set(Array.from(Deno.readDirSync(folder), (entry) => entry.name));
  const stale = jobs.filter((job) => !existing.has(basename(job.object)));
  const queue = stale.map((job, index) => ({ ...job, index }));
  const worker = async (): Promise<void> => {
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) {
      options.progress?.(`[${job.index + 1}/${stale.length}] ${relative(NATIVE, job.source)}`);
      const temporary = `${job.object}.tmp`;
      const { ok, output } = await run(toolchain.compiler, [...job.flags, "-c", job.source, "-o", temporary]);
      if (!ok) {
        queue.length = 0;
        throw new Error(`Cannot compile ${job.source}:\n${output}`);
      }
      if (output.trim() !== "") options.progress?.(output.trimEnd());
      await Deno.rename(temporary, job.object);
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: availableParallelism() }, worker));
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  for (const { name, object } of stale) {
    const old = [...existing].filter((file) => file.replace(/-[0-9a-f]{24}\.o(\.tmp)?$/, "") === name);
    for (const file of old) if (file !== basename(object)) await Deno.remove(join(folder, file)).catch(() => {});
  }
  return jobs.map((job) => job.object);
}

/** Links into a temporary file and moves it into place, so that nobody ever opens half of one. */
async function link(
  target: Target,
  toolchain: Toolchain,
  objects: readonly string[],
  options: BuildOptions,
): Promise<void> {
  const flags = [...target.linkFlags, "-pthread", ...(options.sanitize ? SANITIZE_FLAGS : toolchain.runtime)];
  const key = createHash("sha256").update([toolchain.version, ...flags, ...objects].join("\0")).digest("hex");
  const keyPath = `${target.output}.key`;
  const isThere = await Deno.stat(target.output).then(() => true, () => false);
  if (isThere && await Deno.readTextFile(keyPath).catch(() => "") === key) return;
  options.progress?.(`link ${basename(target.output)}`);
  const temporary = `${target.output}.tmp`;
  const { ok, output } = await run(toolchain.compiler, [...flags, ...objects, "-o", temporary]);
  if (!ok) throw new Error(`Cannot link ${target.output}:\n${output}`);
  await Deno.rename(temporary, target.output);
  await Deno.writeTextFile(keyPath, key);
}

if (import.meta.main) {
  const start = performance.now();
  const options: BuildOptions = { progress: (line) => console.log(line), sanitize: Deno.args.includes("--sanitize") };
  try {
    if (!options.sanitize) console.log(await buildAddon(options));
    console.log(await buildEngineTests(options));
    if (Deno.args.includes("--bench")) console.log(await buildBench(options));
    console.log(`${((performance.now() - start) / 1_000).toFixed(1)} s`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}

/** Compiles and links with nothing but a compiler: what changed, as many files at once as there are cores. */
import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import { basename, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { SourceHasher } from "./sources.ts";
import { run, type Toolchain } from "./toolchain.ts";

const NATIVE = fileURLToPath(new URL(".", import.meta.url));

/** A file to compile, with all its flags. */
export interface CompileJob {
  readonly path: string;
  readonly flags: readonly string[];
}

export interface CompileOptions {
  readonly toolchain: Pick<Toolchain, "compiler" | "version">;
  /** Where objects are kept between builds; exists. */
  readonly folder: string;
  /** Told of each step, one line each. */
  readonly progress: (line: string) => void;
  /** Puts what the compiler printed into `<object>.log` instead of telling it. */
  readonly keepsOutput?: boolean;
}

/** Compiles what changed; returns the object of every source. @throws Error with the compiler's own words */
export async function compileAll(jobs: readonly CompileJob[], options: CompileOptions): Promise<string[]> {
  const { toolchain, folder, progress, keepsOutput = false } = options;
  const hasher = new SourceHasher();
  const objects = await Promise.all(jobs.map(async ({ path, flags }) => {
    const hash = await hasher.hash(path, [toolchain.compiler, toolchain.version, ...flags].join(" "));
    const name = relative(NATIVE, path).replaceAll("/", "-").replace(/\.(cpp|cu)$/, "");
    return { path, flags, name, object: join(folder, `${name}-${hash}.o`) };
  }));
  const existing = new Set(Array.from(Deno.readDirSync(folder), (entry) => entry.name));
  const stale = objects.filter(({ object }) => !existing.has(basename(object)));
  const queue = stale.map((job, index) => ({ ...job, index }));
  const worker = async (): Promise<void> => {
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) {
      progress(`[${job.index + 1}/${stale.length}] ${relative(NATIVE, job.path)}`);
      const temporary = `${job.object}.tmp`;
      const { ok, output } = await run(toolchain.compiler, [...job.flags, "-c", job.path, "-o", temporary]);
      if (!ok) {
        queue.length = 0;
        throw new Error(`Cannot compile ${job.path}:\n${output}`);
      }
      if (keepsOutput) await Deno.writeTextFile(`${job.object}.log`, output);
      else if (output.trim() !== "") progress(output.trimEnd());
      await Deno.rename(temporary, job.object);
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: availableParallelism() }, worker));
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  for (const { name, object } of stale) {
    const old = [...existing].filter((file) => file.replace(/-[0-9a-f]{24}\.o(\.tmp|\.log)?$/, "") === name);
    for (const file of old) {
      if (!file.startsWith(basename(object))) await Deno.remove(join(folder, file)).catch(() => {});
    }
  }
  return objects.map(({ object }) => object);
}

export interface LinkJob {
  readonly output: string;
  readonly objects: readonly string[];
  readonly flags: readonly string[];
  /** Flags behind the objects that need them. */
  readonly libraries?: readonly string[];
  readonly toolchain: Pick<Toolchain, "compiler" | "version">;
  readonly progress: (line: string) => void;
}

/** Links into a temporary file and moves it into place, so that nobody ever opens half of one. */
export async function link({ output, objects, flags, libraries = [], toolchain, progress }: LinkJob): Promise<void> {
  const key = createHash("sha256").update([toolchain.version, ...flags, ...objects, ...libraries].join("\0")).digest(
    "hex",
  );
  const keyPath = `${output}.key`;
  const isThere = await Deno.stat(output).then(() => true, () => false);
  if (isThere && await Deno.readTextFile(keyPath).catch(() => "") === key) return;
  progress(`link ${basename(output)}`);
  const temporary = `${output}.tmp`;
  const linked = await run(toolchain.compiler, [...flags, ...objects, ...libraries, "-o", temporary]);
  if (!linked.ok) throw new Error(`Cannot link ${output}:\n${linked.output}`);
  await Deno.rename(temporary, output);
  await Deno.writeTextFile(keyPath, key);
}

/** Builds tests of kernels with one source file changed, beside the objects of all that is not: seconds a change. */
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { EMULATOR, ENGINE, KERNEL_DEFINITIONS, listFolder } from "../sources.ts";
import { findToolchain, run } from "../toolchain.ts";
import { BUILD, type EmulatedBuildOptions, flagsOf, SANITIZE, type Variant, withObjects } from "./build.ts";

const KERNELS = "ops/cuda/kernels";

/** A file of the engine with another text. */
export interface SourceChange {
  /** Of a kernel, in the folder of kernels: `norm.cu`, or a header of theirs. */
  readonly file: string;
  readonly text: string;
  /** The test file that is to notice, as `rows_test.cu`. */
  readonly test: string;
}

/** A program with a change in it, or the compiler's words where there is none. */
export type ChangedProgram = { readonly program: string; remove(): Promise<void> } | { readonly refused: string };

/**
 * Kernels that are compiled from a file: itself, or those that include it, through other headers of theirs too. One that was
 * left out would bring its own copy of an inline function, of which the linker keeps the first.
 */
async function madeFrom(file: string, kernels: readonly string[]): Promise<string[]> {
  const headers = await listFolder(join(ENGINE, KERNELS), undefined, ".cuh");
  const texts = new Map(
    await Promise.all([...kernels, ...headers].map(async (path) => [path, await Deno.readTextFile(path)] as const)),
  );
  const names = new Set([file]);
  for (let before = 0; before < names.size;) {
    before = names.size;
    for (const path of headers) {
      if ([...names].some((name) => texts.get(path)!.includes(`/${name}"`))) names.add(basename(path));
    }
  }
  return kernels.filter((path) =>
    names.has(basename(path)) ||
    [...names].some((name) => name.endsWith(".cuh") && texts.get(path)!.includes(`/${name}"`))
  );
}

/** Compiles what is not changed; the function it returns makes a program of each change. */
export async function openKernelWorkshop(
  variant: Variant,
  options: EmulatedBuildOptions,
): Promise<(change: SourceChange) => Promise<ChangedProgram>> {
  const folder = join(BUILD, variant);
  await Deno.mkdir(folder, { recursive: true });
  const parts = ["device", "runtime", ...(variant === "race" ? ["race"] : [])];
  const emulator = await Promise.all(parts.map((part) => listFolder(join(EMULATOR, part))));
  const harness = ["../engine/tests/check.cpp", "../engine/tests/main.cpp"];
  const reference = await listFolder(join(ENGINE, "ops/reference"));
  const kernels = await listFolder(join(ENGINE, KERNELS), undefined, ".cu");
  const tests = await listFolder(join(ENGINE, "ops/cuda/tests"), undefined, ".cu");
  const always = [
    ...emulator.flat(),
    ...reference,
    ...KERNEL_DEFINITIONS,
    ...harness.map((path) => fileURLToPath(new URL(path, import.meta.url))),
  ];
  const sources = [...always, ...kernels, ...tests];
  // Links of our own: another build may replace objects while changes are tried.
  const own = await Deno.makeTempDir({ dir: folder, prefix: "workshop-" });
  addEventListener("unload", () => Deno.removeSync(own, { recursive: true }));
  const [compiled, toolchain] = await withObjects(sources, variant, options, async (shared, toolchain) => {
    const links = shared.map((object) => join(own, basename(object)));
    await Promise.all(shared.map((object, i) => Deno.link(object, links[i]!)));
    return [links, toolchain] as const;
  });
  const objectOf = new Map(sources.map((source, i) => [source, compiled[i]!]));

  return async ({ file, text, test }) => {
    const own = await Deno.makeTempDir({ prefix: "tessera-kernel-" });
    const changed = join(own, KERNELS, file);
    const remove = () => Deno.remove(own, { recursive: true });
    await Deno.mkdir(dirname(changed), { recursive: true });
    await Deno.writeTextFile(changed, text);
    // A header is compiled with each kernel that includes it.
    const affected = await madeFrom(file, kernels);
    if (affected.length === 0) throw new Error(`Cannot change ${file}: no kernel is compiled from it`);
    const linked = [...always, ...kernels, ...tests.filter((path) => basename(path) === test)]
      .filter((path) => !affected.includes(path)).map((path) => objectOf.get(path)!);
    for (const path of affected) {
      const object = join(own, `${basename(path)}.o`);
      const source = basename(path) === file ? changed : path;
      const flags = flagsOf(path, variant, options.headers).map((flag) => flag === "-O2" ? "-O1" : flag);
      const { ok, output } = await run(toolchain.compiler, [`-I${own}`, ...flags, "-w", "-c", source, "-o", object]);
      if (!ok) {
        await remove();
        return { refused: output };
      }
      linked.push(object);
    }
    const program = join(own, "tests");
    const flags = ["-pthread", ...(variant === "sanitize" ? SANITIZE : [])];
    const { ok, output } = await run(toolchain.compiler, [...flags, ...linked, "-o", program]);
    if (!ok) throw new Error(`Cannot link a changed ${file}:\n${output}`);
    return { program, remove };
  };
}

/**
 * Whether the compiler makes the very same instructions of a kernel file with a change as without: then no test can tell
 * them apart, for no input at all.
 */
export async function compilesAlike(
  { file, text }: Pick<SourceChange, "file" | "text">,
  { headers }: Pick<EmulatedBuildOptions, "headers">,
): Promise<boolean> {
  const toolchain = await findToolchain(BUILD);
  const kernels = await listFolder(join(ENGINE, KERNELS), undefined, ".cu");
  const affected = await madeFrom(file, kernels);
  // Both from one path, which is in messages.
  const own = await Deno.makeTempDir({ prefix: "tessera-kernel-" });
  try {
    const changed = join(own, KERNELS, file);
    await Deno.mkdir(dirname(changed), { recursive: true });
    const instructionsOf = async (text: string): Promise<string[]> => {
      await Deno.writeTextFile(changed, text);
      return await Promise.all(affected.map(async (path, i) => {
        const source = basename(path) === file ? changed : path;
        const flags = flagsOf(path, "fast", headers).filter((flag) => flag !== "-g");
        const output = join(own, `${i}.s`);
        const compiled = await run(toolchain.compiler, [`-I${own}`, ...flags, "-w", "-S", source, "-o", output]);
        if (!compiled.ok) throw new Error(`Cannot compile ${file}:\n${compiled.output}`);
        return await Deno.readTextFile(output);
      }));
    };
    const before = await instructionsOf(await Deno.readTextFile(join(ENGINE, KERNELS, file)));
    const after = await instructionsOf(text);
    return before.length > 0 && before.every((own, i) => own === after[i]);
  } finally {
    await Deno.remove(own, { recursive: true });
  }
}

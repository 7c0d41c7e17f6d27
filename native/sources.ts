/** Owns what is compiled: the engine's source files, and the hash of everything each one is made from. */
import { createHash } from "node:crypto";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** Root of the engine's sources; includes are written from here. */
export const ENGINE = fileURLToPath(new URL("./engine", import.meta.url));

/** What defines results that CUDA kernels must give too: linked into their tests. */
export const KERNEL_DEFINITIONS: readonly string[] = [
  join(ENGINE, "ops/quantise.cpp"),
  join(ENGINE, "ops/sampling.cpp"),
];

/** Root of the GPU emulator's sources. */
export const EMULATOR = fileURLToPath(new URL("./emulator", import.meta.url));

const BENCH = fileURLToPath(new URL("./bench", import.meta.url));

/** What can be built. */
export type TargetKind = "addon" | "tests" | "bench";

/** Parts of the engine in every target. */
const CORE = ["model", "ops", "runtime"];
/** A folder inside those that the addon goes without. */
const REFERENCE = "reference";
/** Tests that lie in those are programs of their own. */
const TESTS = "tests";
/** A folder inside those that needs CUDA's headers. */
const CUDA = join(ENGINE, "ops/cuda");

/** Files with an ending in a folder and those below it that `enters` lets through, in a fixed order. */
export async function listFolder(
  folder: string,
  enters: (name: string, path: string) => boolean = () => true,
  ending = ".cpp",
): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory && enters(entry.name, path)) files.push(...await listFolder(path, enters, ending));
    if (entry.isFile && entry.name.endsWith(ending)) files.push(path);
  }
  return files.sort();
}

/** `.cpp` files of a target, in a fixed order; those of the CUDA backend where `withCuda`. */
export async function listSources(target: TargetKind, withCuda = false): Promise<string[]> {
  const enters = (name: string, path: string) =>
    (name !== REFERENCE || target !== "addon") && (path !== CUDA || withCuda) && name !== TESTS;
  const folders = [...CORE.map((part) => join(ENGINE, part)), target === "bench" ? BENCH : join(ENGINE, target)];
  const files = (await Promise.all(folders.map((folder) => listFolder(folder, enters)))).flat();
  if (target === "bench") files.push(join(ENGINE, "tests/support.cpp"));
  return files.sort();
}

/** Host code and kernels of the CUDA backend, tests aside. */
export async function listCudaSources(): Promise<string[]> {
  const enters = (name: string) => name !== TESTS;
  return [...await listFolder(CUDA, enters), ...await listFolder(CUDA, enters, ".cu")];
}

/** Whether a source needs CUDA's headers. */
export function isCudaSource(source: string): boolean {
  return source.startsWith(`${CUDA}/`);
}

/** `kernels_avx2.cpp` needs `avx2`; most files need nothing. */
export function instructionSet(source: string): string | undefined {
  return source.match(/kernels_(?!portable)([a-z0-9]+)\.cpp$/)?.[1];
}

/** Hashes sources with all they include, reading each file once. */
export class SourceHasher {
  readonly #texts = new Map<string, Promise<string | undefined>>();

  #text(path: string): Promise<string | undefined> {
    let text = this.#texts.get(path);
    if (text === undefined) {
      text = Deno.readTextFile(path).catch(() => undefined);
      this.#texts.set(path, text);
    }
    return text;
  }

  /** The file an `#include "..."` names, or undefined for one outside the engine. */
  async #resolve(from: string, name: string): Promise<string | undefined> {
    for (const folder of [dirname(from), ENGINE, join(ENGINE, "include"), EMULATOR]) {
      const path = join(folder, name);
      if (await this.#text(path) !== undefined) return path;
    }
    return undefined;
  }

  /** SHA-256 over the source, every file of ours it includes, and `salt`. */
  async hash(source: string, salt: string): Promise<string> {
    const seen = new Set<string>();
    const visit = async (path: string): Promise<void> => {
      if (seen.has(path)) return;
      seen.add(path);
      for (const [, name] of (await this.#text(path) ?? "").matchAll(/^\s*#include\s+"([^"]+)"/gm)) {
        const included = await this.#resolve(path, name!);
        if (included !== undefined) await visit(included);
      }
    };
    await visit(source);
    const hash = createHash("sha256").update(salt);
    for (const path of [...seen].sort()) hash.update(`\0${relative(ENGINE, path)}\0${await this.#text(path)}`);
    return hash.digest("hex").slice(0, 24);
  }
}

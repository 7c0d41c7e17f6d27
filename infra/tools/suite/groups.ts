/** Which test files run together in one process, and in which order groups begin. */

/** Test files of one folder, or one file that has a process of its own. */
export interface Group {
  /** From the repository's root. */
  readonly name: string;
  readonly files: readonly string[];
  /** Compiles, or computes on every core: nothing in it waits for a clock. */
  readonly computes: boolean;
}

/** Groups that keep cores busy by themselves, the longest first. */
const COMPUTING = [
  "tests/native_kernels_test.ts",
  "tests/conformance",
  "tests/native_cuda_build_test.ts",
  "tests/native_emulator_test.ts",
  "tests/native_engine_test.ts",
];

/** Of all others those that take longest, so that no long one is left for the end. */
const LONG = ["tests/chaos", "tests/e2e", "tests/edge", "tests/upgrade", "tests/worker", "tests/bus"];

/** What `deno test` takes for a test file. */
const TEST_FILE = /(^|[._])test\.[mc]?[jt]sx?$/;

/** Files below `root` that `deno test` would run there, in a fixed order. */
export async function listTestFiles(root: string): Promise<string[]> {
  const { exclude } = JSON.parse(await Deno.readTextFile(`${root}/deno.json`)) as { exclude: readonly string[] };
  const skipped = new Set([...exclude, ".git"]);
  const files: string[] = [];
  const visit = async (folder: string): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(`${root}/${folder}`)) {
      const path = folder === "" ? name : `${folder}/${name}`;
      if (skipped.has(path) || name === "node_modules") continue;
      if (isDirectory) await visit(path);
      else if (TEST_FILE.test(name)) files.push(path);
    }
  };
  await visit("");
  return files.sort();
}

/** Groups in the order in which they should begin. */
export function groupFiles(files: readonly string[]): Group[] {
  const groups = new Map<string, string[]>();
  for (const file of files) {
    const parts = file.split("/").slice(0, -1);
    const folder = parts.slice(0, parts[0] === "tests" ? 2 : 1).join("/");
    const name = COMPUTING.includes(file) ? file : folder;
    groups.set(name, [...groups.get(name) ?? [], file]);
  }
  const rank = (name: string): number => {
    const at = [...COMPUTING, ...LONG].indexOf(name);
    return at < 0 ? Infinity : at;
  };
  const names = [...groups.keys()].sort((a, b) => rank(a) === rank(b) ? 0 : rank(a) - rank(b));
  return names.map((name) => ({ name, files: groups.get(name)!, computes: COMPUTING.includes(name) }));
}

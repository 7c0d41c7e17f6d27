/** Owns where nvcc and the CUDA runtime are: the toolkit that was chosen, or one that the machine has. */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "../toolchain.ts";

/** Remembers what `chooseToolkit` was told, so that every later build makes the same addon. */
const CHOICE = fileURLToPath(new URL("../build/cuda.json", import.meta.url));

/** The first release whose nvcc knows sm_100 and sm_120. */
const OLDEST = [12, 8] as const;

/** nvcc with what it compiles and links against. */
export interface Toolkit {
  readonly nvcc: string;
  /** Its release, as `13.0.88`. */
  readonly version: string;
  /** Folder of cuda_runtime.h. */
  readonly include: string;
  /** Folder of libcudart_static.a. */
  readonly lib: string;
}

/** A toolkit, and whether somebody asked for it or it just happened to be there. */
export interface FoundToolkit {
  readonly toolkit: Toolkit;
  readonly isChosen: boolean;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** The toolkit in a folder that holds `bin/nvcc`. @throws Error that says what is missing or too old */
export async function readToolkit(root: string): Promise<Toolkit> {
  const nvcc = join(root, "bin/nvcc");
  const { ok, output } = await run(nvcc, ["--version"]);
  const version = output.match(/\bV(\d+\.\d+\.\d+)/)?.[1];
  if (!ok || version === undefined) throw new Error(`Cannot use CUDA in ${root}: ${nvcc} does not run\n${output}`);
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    throw new Error(`Cannot use CUDA in ${root}: nvcc is ${version}, expected ${OLDEST.join(".")} or newer`);
  }
  const include = join(root, "include");
  const libs = ["lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"].map((name) => join(root, name));
  for (const lib of libs) {
    if (await exists(join(lib, "libcudart_static.a"))) return { nvcc, version, include, lib };
  }
  throw new Error(`Cannot use CUDA in ${root}: no libcudart_static.a, expected one in ${libs.join(" or ")}`);
}

/** Builds from now on use the toolkit in this folder. @throws Error as `readToolkit` */
export async function chooseToolkit(root: string): Promise<Toolkit> {
  const toolkit = await readToolkit(root);
  await Deno.mkdir(dirname(CHOICE), { recursive: true });
  await Deno.writeTextFile(CHOICE, JSON.stringify({ root }));
  return toolkit;
}

/** The chosen toolkit, else that of $CUDA_HOME, $CUDA_PATH, nvcc on PATH or /usr/local/cuda; undefined where none works. */
export async function findToolkit(progress: (line: string) => void = () => {}): Promise<FoundToolkit | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  const chosen = await Deno.readTextFile(CHOICE).then((text) => (JSON.parse(text) as { root: string }).root, () => "");
  const onPath = (Deno.env.get("PATH") ?? "").split(":").filter((folder) => folder.startsWith("/"));
  const roots = [
    chosen,
    Deno.env.get("CUDA_HOME") ?? "",
    Deno.env.get("CUDA_PATH") ?? "",
    ...onPath.filter((folder) => folder.endsWith("/bin")).map(dirname),
    "/usr/local/cuda",
  ];
  for (const root of new Set(roots.filter((each) => each !== ""))) {
    if (!await exists(join(root, "bin/nvcc"))) continue;
    try {
      return { toolkit: await readToolkit(root), isChosen: root === chosen };
    } catch (error) {
      progress(error instanceof Error ? error.message : String(error));
    }
  }
  return undefined;
}

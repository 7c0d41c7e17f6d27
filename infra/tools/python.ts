/** Private Pythons with the packages that tests and benches need; nothing is installed outside the data folder. */
import { dataDir, ROOT } from "./paths.ts";
import { findOnPath, run } from "./process.ts";

/** A Python with the packages of one requirements file. */
export interface PythonOptions {
  /** Folder under the data folder. */
  readonly name: string;
  /** Path from the repository's root. */
  readonly requirements: string;
  /** For pip: how packages without a wheel are compiled. */
  readonly env?: Record<string, string>;
}

/**
 * Command line that runs Python with these packages, installed where they are not yet.
 * @throws Error when there is no python3 or the packages cannot be installed
 */
export async function ensurePython({ name, requirements, env }: PythonOptions): Promise<string> {
  const wanted = await Deno.readTextFile(`${ROOT}/${requirements}`);
  const folder = `${dataDir()}/${name}`;
  const python = `${folder}/bin/python`;
  const stamp = `${folder}/installed.txt`;
  if (await Deno.readTextFile(stamp).catch(() => "") === wanted) return python;

  const system = await findOnPath("python3");
  if (system === null) throw new Error(`Cannot install ${requirements}: no python3 on PATH.`);
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  await run(system, ["-m", "venv", folder]);
  const install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
  await run(python, [...install, "-r", `${ROOT}/${requirements}`], env === undefined ? {} : { env });
  await Deno.writeTextFile(stamp, wanted);
  return python;
}

/** OpenAI's Python client, for the tests that speak through it. */
export function ensurePythonClient(): Promise<string> {
  return ensurePython({ name: "python", requirements: "tests/e2e/requirements.txt" });
}

/** The Pillow that is the tiler's reference. */
export function ensurePillow(): Promise<string> {
  return ensurePython({ name: "python-pillow", requirements: "tests/golden/tiler/requirements.txt" });
}

/** The transformers that is the engine's reference, with torch: about 2 GB, so only commands that need it ask. */
export function ensureTransformers(): Promise<string> {
  return ensurePython({ name: "python-transformers", requirements: "tests/golden/engine/requirements.txt" });
}

/** Pillow with AVX2, built from source: needs a C compiler and the headers of libjpeg and zlib. */
export function ensurePillowSimd(): Promise<string> {
  return ensurePython({
    name: "python-pillow-simd",
    requirements: "tests/bench/pillow-simd.txt",
    env: { CC: "cc -mavx2" },
  });
}

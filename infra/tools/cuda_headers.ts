/** NVIDIA's headers from its published wheels: types and names for the emulated GPU. No driver, no compiler. */
import { ensurePython } from "./python.ts";

/** Folder of the headers, fetched where it is not there yet. @throws Error when the wheels cannot be had */
export async function ensureCudaHeaders(): Promise<string> {
  const python = await ensurePython({ name: "cuda-headers", requirements: "native/emulator/requirements.txt" });
  const lib = `${python.slice(0, -"/bin/python".length)}/lib`;
  for await (const { name } of Deno.readDir(lib)) {
    const folder = `${lib}/${name}/site-packages/nvidia/cu13/include`;
    if (await Deno.stat(`${folder}/cuda_runtime.h`).then(() => true, () => false)) return folder;
  }
  throw new Error(`Cannot find NVIDIA's headers in ${lib}, expected cuda_runtime.h in a package's folder`);
}

/** Owns where cuBLASLt is on a machine with a GPU: on the library path, beside the compiler, else in the published wheel. */
import type { Toolkit } from "@tessera/native";
import { ensureCudaLibraries } from "../../infra/tools/cuda.ts";

const NAMES = ["libcublasLt.so.13", "libcublasLt.so.12"];

/** What the engine must be told to find it: nothing, or $TESSERA_CUDA_LIBRARIES. */
export async function findCublasLt(
  toolkit: Pick<Toolkit, "lib">,
  progress: (line: string) => void,
): Promise<Record<string, string>> {
  const told = Deno.env.get("TESSERA_CUDA_LIBRARIES") ?? "";
  if (told !== "" && NAMES.some((name) => opens(`${told}/${name}`))) return {};
  if (NAMES.some(opens)) return {};
  if (NAMES.some((name) => opens(`${toolkit.lib}/${name}`))) return { TESSERA_CUDA_LIBRARIES: toolkit.lib };
  progress("cuBLASLt is not on the library path: fetching its wheel (420 MB, once)");
  return { TESSERA_CUDA_LIBRARIES: await ensureCudaLibraries() };
}

function opens(path: string): boolean {
  try {
    Deno.dlopen(path, {}).close();
    return true;
  } catch {
    return false;
  }
}

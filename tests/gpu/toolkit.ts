/** Owns the CUDA toolkit of commands that need a GPU: the machine's, else the published wheels'. */
import { findToolkit, readToolkit, type Toolkit } from "@tessera/native";
import { ensureCudaToolkit } from "../../infra/tools/cuda.ts";

export async function requireToolkit(): Promise<Toolkit> {
  return (await findToolkit(console.error))?.toolkit ?? await readToolkit(await ensureCudaToolkit());
}

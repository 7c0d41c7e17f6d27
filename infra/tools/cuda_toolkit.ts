/** Owns the CUDA toolkit of commands that need one: the machine's, else the published wheels'. */
import { findToolkit, readToolkit, type Toolkit } from "@tessera/native";
import { ensureCudaToolkit } from "./cuda.ts";

/** Fetches one where there is none. @throws Error when it cannot be had */
export async function requireToolkit(): Promise<Toolkit> {
  return (await findToolkit(console.error))?.toolkit ?? await readToolkit(await ensureCudaToolkit());
}

/** Where things are: the repository, and the folder for what tools download or leave behind. */
import { readEnv } from "@tessera/shared";

/** Repository root, with no slash at the end. */
export const ROOT = decodeURIComponent(new URL("../..", import.meta.url).pathname).replace(/\/$/, "");

/** TESSERA_DATA_DIR, made absolute against the repository. */
export function dataDir(): string {
  const { TESSERA_DATA_DIR } = readEnv(["TESSERA_DATA_DIR"], (name) => Deno.env.get(name));
  return TESSERA_DATA_DIR.startsWith("/") ? TESSERA_DATA_DIR : `${ROOT}/${TESSERA_DATA_DIR}`;
}

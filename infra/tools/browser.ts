/** Finds a Chromium for the tests of pages: named, on PATH, else fetched once at a pinned version through npm. */
import { dataDir } from "./paths.ts";
import { findOnPath, run } from "./process.ts";

/** Chromium's headless shell for x86-64 Linux with the libraries it needs: 67 MiB, BSD licence. Only tests run it. */
const PACKAGE = "@sparticuz/chromium";
const VERSION = "153.0.0";
const NAMES = ["chromium", "chromium-browser", "google-chrome"];

export interface Browser {
  readonly path: string;
  readonly env: Readonly<Record<string, string>>;
}

/**
 * A Chromium that runs here, fetched where there is none.
 * @throws Error saying what to do
 */
export async function ensureBrowser(): Promise<Browser> {
  const named = Deno.env.get("TESSERA_CHROMIUM")?.trim() ?? "";
  if (named !== "") return { path: named, env: {} };
  for (const name of NAMES) {
    const path = await findOnPath(name);
    if (path !== null && await runs({ path, env: {} })) return { path, env: {} };
  }
  const folder = `${dataDir()}/chromium-${VERSION}`;
  const fetched = { path: `${folder}/chromium`, env: {} };
  const withLibraries = { ...fetched, env: { LD_LIBRARY_PATH: `${folder}/al2023/lib` } };
  try {
    if (!await exists(fetched.path)) await fetchInto(folder);
    for (const browser of [fetched, withLibraries]) if (await runs(browser)) return browser;
    throw new Error("the fetched program does not run here");
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot fetch Chromium: ${why}\nInstall chromium, or set TESSERA_CHROMIUM.`, { cause });
  }
}

/** Unpacked beside its place and moved there whole. */
async function fetchInto(folder: string): Promise<void> {
  const scratch = await Deno.makeTempDir({ dir: dataDir(), prefix: "chromium-" });
  try {
    await run("npm", ["install", "--silent", "--no-audit", "--no-fund", "--prefix", scratch, `${PACKAGE}@${VERSION}`]);
    // The package unpacks into the folder of temporary files; where it believes to be on Lambda, libraries too.
    const unpack = `import("${PACKAGE}").then(({ default: chromium }) => chromium.executablePath())`;
    const env = { TMPDIR: scratch, AWS_EXECUTION_ENV: "AWS_Lambda_nodejs22.x" };
    await run("node", ["--input-type=module", "--eval", unpack], { cwd: scratch, env });
    await Deno.remove(`${scratch}/node_modules`, { recursive: true });
    await Deno.remove(folder, { recursive: true }).catch(() => {});
    await Deno.rename(scratch, folder);
  } finally {
    await Deno.remove(scratch, { recursive: true }).catch(() => {});
  }
}

async function runs({ path, env }: Browser): Promise<boolean> {
  try {
    return /Chrom/.test(await run(path, ["--version"], { env }));
  } catch {
    return false;
  }
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** The release before this one, from the repository's own history: its commit, and its files in a cache folder. */
import { dataDir, ROOT } from "@tessera/infra/paths";
import { run } from "@tessera/infra/process";
import type { Tree } from "../support/fleet.ts";

/** Moved on with every release; CONTRIBUTING.md tells when. */
export const PREVIOUS = {
  commit: "4b355f808903d8d0fb76cb49165598882ea0fb75",
  /** Newest version of the wire that it speaks. */
  wireVersion: 1,
} as const;

/** What no edge, and no worker without a model, needs. */
const LEFT_OUT = ["gpu-worker/models", "tests/golden", "native/engine", "native/tiler"];

/** The files of that release; or why they cannot be had, as in a copy without history and without a network. */
export async function previousTree(): Promise<Tree | string> {
  const { commit } = PREVIOUS;
  const root = `${dataDir()}/upgrade/${commit}`;
  // Not the folder of packages of this build, whose versions may be others by now: Deno's own cache.
  const tree = { root, args: ["--node-modules-dir=none"] };
  if (await exists(`${root}/deno.json`)) return tree;
  const git = (...args: string[]) => run("git", ["-C", ROOT, ...args]);
  const has = () => git("cat-file", "-e", `${commit}^{commit}`).then(() => true, () => false);
  if (!await has()) await git("fetch", "--quiet", "--depth", "1", "origin", commit).catch(() => {});
  if (!await has()) return `commit ${commit.slice(0, 9)} is not in this copy of the repository and cannot be fetched`;
  await Deno.mkdir(`${dataDir()}/upgrade`, { recursive: true });
  // Complete or not there, whoever does the same at the same time.
  const unpacked = await Deno.makeTempDir({ dir: `${dataDir()}/upgrade` });
  const archive = `${unpacked}.tar`;
  try {
    const paths = LEFT_OUT.map((path) => `:!${path}`);
    await git("archive", "--output", archive, commit, "--", ".", ...paths);
    await run("tar", ["-xf", archive, "-C", unpacked]);
    await Deno.rename(unpacked, root).catch(async (error) => {
      if (!await exists(`${root}/deno.json`)) throw error;
    });
  } finally {
    await Promise.allSettled([Deno.remove(archive), Deno.remove(unpacked, { recursive: true })]);
  }
  return tree;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

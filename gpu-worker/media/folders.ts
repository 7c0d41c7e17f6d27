/** Owns where videos lie while they are decoded: a folder each, and the end of those whose worker was killed. */

const PREFIX = "tessera-video-";
/** Of a folder without a file: between making one and the other no worker takes that long. */
const EMPTY_MS = 60_000;

export function makeVideoFolder(): Promise<string> {
  return Deno.makeTempDir({ prefix: PREFIX });
}

export function videoPath(folder: string): string {
  return `${folder}/video`;
}

/** The lock that is held on it ends with the worker, however that ends. */
export async function createVideoFile(folder: string): Promise<Deno.FsFile> {
  const file = await Deno.open(videoPath(folder), { write: true, createNew: true });
  await file.lock(true);
  return file;
}

/** Removes the folders of workers that are gone. */
export async function removeStaleFolders(): Promise<void> {
  const probe = await makeVideoFolder();
  const root = probe.slice(0, probe.lastIndexOf("/"));
  await Deno.remove(probe);
  for await (const { name, isDirectory } of Deno.readDir(root)) {
    const folder = `${root}/${name}`;
    if (!isDirectory || !name.startsWith(PREFIX) || !await isStale(folder)) continue;
    await Deno.remove(folder, { recursive: true }).catch(() => {});
  }
}

async function isStale(folder: string): Promise<boolean> {
  try {
    using file = await Deno.open(videoPath(folder), { read: true, write: true });
    return await file.tryLock(true);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) return false;
    const stat = await Deno.stat(folder).catch(() => null);
    return stat?.mtime != null && Date.now() - stat.mtime.getTime() > EMPTY_MS;
  }
}

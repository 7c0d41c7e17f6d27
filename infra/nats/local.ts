/** The nats-server of `deno task start`: what it keeps, and where the command line finds it. */
import { dataDir } from "../tools/paths.ts";

/** What a stack on this machine keeps between its runs: jobs, files, keys. */
export interface LocalStore {
  readonly storeDir: string;
  /** Tells other commands of this machine where the server is. */
  announce(url: string): Promise<void>;
  release(): Promise<void>;
}

const urlFile = () => `${dataDir()}/nats/url`;

/** Null while another stack has it: nats-server does not keep two servers from writing into one folder. */
export async function openLocalStore(): Promise<LocalStore | null> {
  const folder = `${dataDir()}/nats`;
  await Deno.mkdir(folder, { recursive: true });
  const lock = await Deno.open(`${folder}/lock`, { write: true, create: true });
  if (!await lock.tryLock(true)) {
    lock.close();
    return null;
  }
  return {
    storeDir: `${folder}/jetstream`,
    announce: (url) => Deno.writeTextFile(urlFile(), url),
    release: async () => {
      await Deno.remove(urlFile()).catch(() => {});
      lock.close();
    },
  };
}

/** Where the server of a running `deno task start` is; null without one. */
export async function localNatsUrl(): Promise<string | null> {
  try {
    return await Deno.readTextFile(urlFile());
  } catch {
    return null;
  }
}

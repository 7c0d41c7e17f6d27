/** What checks may ask of a machine; the true one, and in tests a made-up one. */
import { statfs } from "node:fs/promises";
import { createServer } from "node:net";
import { run } from "../tools/process.ts";

export interface Machine {
  readonly os: string;
  readonly arch: string;
  readonly numCpus: number;
  env(name: string): string | undefined;
  /** Output of a command; null when it is not there or fails. */
  output(command: string, ...args: string[]): Promise<string | null>;
  /** A file's text; null when it cannot be read. */
  read(path: string): Promise<string | null>;
  exists(path: string): Promise<boolean>;
  /** Bytes free on the disk that holds a path, or would. */
  freeBytes(path: string): Promise<number>;
  isPortFree(host: string, port: number): Promise<boolean>;
}

/** How long a command may take: a driver that hangs must not hang the doctor. */
const COMMAND_MS = 10_000;

export function thisMachine(): Machine {
  return {
    os: Deno.build.os,
    arch: Deno.build.arch,
    numCpus: navigator.hardwareConcurrency,
    env: (name) => Deno.env.get(name),
    output: (command, ...args) => within(COMMAND_MS, run(command, args).catch(() => null)),
    read: (path) => Deno.readTextFile(path).catch(() => null),
    exists: (path) => Deno.stat(path).then(() => true, () => false),
    freeBytes,
    isPortFree,
  };
}

async function within(ms: number, work: Promise<string | null>): Promise<string | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<null>((resolve) => timer = setTimeout(() => resolve(null), ms));
  const result = await Promise.race([work, late]);
  clearTimeout(timer);
  return result;
}

async function freeBytes(path: string): Promise<number> {
  for (let folder = path;; folder = folder.slice(0, folder.lastIndexOf("/")) || "/") {
    try {
      const { bavail, bsize } = await statfs(folder);
      return bavail * bsize;
    } catch (error) {
      if (folder === "/") throw error;
    }
  }
}

function isPortFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}

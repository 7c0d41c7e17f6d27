/** Starts a real nats-server with JetStream on loopback, in a folder of its own, and ends it with its owner. */
import { supervise } from "../tools/process.ts";
import { ensureNatsServer, type Progress } from "./binary.ts";

const START_TIMEOUT_MS = 15_000;
const STOP_GRACE_MS = 5_000;

/** Runs "$0" "$@" until it ends, is asked to (TERM), or standard input closes. */
const WITH_PARENT = `exec 3<&0
"$0" "$@" </dev/null 3<&- & server=$!
(cat <&3; kill $server) >/dev/null 2>&1 & watcher=$!
trap 'kill $server' TERM
wait $server; wait $server; code=$?
kill $watcher
exit $code`;

/** A running server. */
export interface NatsServer {
  readonly url: string;
  /** Of the shell that watches the server. */
  readonly pid: number;
  readonly serverPid: number;
  /** Where web sockets are taken, where the configuration says so. */
  readonly webSocketUrl: string | null;
  /** Where it tells its figures over HTTP, with `--http_port`. */
  readonly monitoringUrl: string | null;
  /** Ends it as a crash does: at once, with what was in memory lost. `stop` is still to be called. */
  kill(): void;
  /** Resolves when the server has ended, asked or not. */
  readonly ended: Promise<unknown>;
  /** Stops it and removes its folder. Idempotent. */
  stop(): Promise<void>;
}

export interface NatsServerOptions {
  /** 0 takes a free port. */
  readonly port?: number;
  /** More arguments for nats-server, such as `--config`. */
  readonly args?: readonly string[];
  /** For variables in the configuration. */
  readonly env?: Record<string, string>;
  /** Folder of JetStream's files, the caller's and kept; else the server has one of its own. */
  readonly storeDir?: string;
  readonly progress?: Progress;
  /** Called with each line the server logs. */
  readonly log?: (line: string) => void;
}

/**
 * Starts nats-server and waits until it accepts clients. The shell between us and it stops the server when our end of
 * its standard input closes, which also happens when this process is killed.
 * @throws Error with the server's last lines when it does not come up
 */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const binary = await ensureNatsServer(options.progress);
  const folder = await Deno.makeTempDir({ prefix: "tessera-nats-" });
  const tail: string[] = [];
  const args = [
    "--addr",
    "127.0.0.1",
    "--port",
    String(options.port || -1),
    "--jetstream",
    "--store_dir",
    options.storeDir ?? `${folder}/jetstream`,
    "--ports_file_dir",
    folder,
    ...(options.args ?? []),
  ];
  const server = supervise("/bin/sh", ["-c", WITH_PARENT, binary, ...args], {
    ...(options.env === undefined ? {} : { env: options.env }),
    onLine: (line) => {
      tail.push(line);
      if (tail.length > 20) tail.shift();
      options.log?.(line);
    },
  });
  const stop = async () => {
    await server.stop(STOP_GRACE_MS);
    await Deno.remove(folder, { recursive: true }).catch(() => {});
  };
  try {
    const { pid, url, webSocketUrl, monitoringUrl } = await readPorts(folder, server.ended);
    return {
      url,
      webSocketUrl,
      monitoringUrl,
      pid: server.pid,
      serverPid: pid,
      ended: server.ended,
      stop,
      kill: () => Deno.kill(pid, "SIGKILL"),
    };
  } catch (cause) {
    await stop();
    throw new Error(`Cannot start nats-server: ${cause instanceof Error ? cause.message : cause}\n${tail.join("\n")}`);
  }
}

interface Ports {
  /** Of the server itself, not of the shell that watches it. */
  readonly pid: number;
  readonly url: string;
  readonly webSocketUrl: string | null;
  readonly monitoringUrl: string | null;
}

/** The server writes `nats-server_<pid>.ports` once it listens. */
async function readPorts(folder: string, ended: Promise<unknown>): Promise<Ports> {
  let over = false;
  void ended.then(() => over = true);
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline && !over) {
    for await (const entry of Deno.readDir(folder)) {
      const pid = Number(/_(\d+)\.ports$/.exec(entry.name)?.[1]);
      if (Number.isNaN(pid)) continue;
      try {
        type Urls = readonly string[];
        const text = await Deno.readTextFile(`${folder}/${entry.name}`);
        const ports = JSON.parse(text) as { nats?: Urls; websocket?: Urls; monitoring?: Urls };
        const first = (urls?: Urls) => urls?.[0] ?? null;
        const url = first(ports.nats);
        if (url === null) continue;
        return { pid, url, webSocketUrl: first(ports.websocket), monitoringUrl: first(ports.monitoring) };
      } catch {
        // Half written; read it again.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(over ? "it ended at once" : `it did not listen within ${START_TIMEOUT_MS} ms`);
}

/** A small server on a port of its own, for the inside of a fleet: /metrics for Prometheus, /healthz and /readyz. */
import { EnvError } from "./env.ts";
import type { Logger } from "./log.ts";

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

export interface Told {
  readonly metrics: () => Promise<{ readonly type: string; readonly text: string }>;
  /** Whether it takes new work. */
  readonly isReady: () => boolean;
}

/**
 * @param address `host:port`; port 0 takes a free one
 * @throws EnvError where that cannot be had
 */
export function serveMetrics(address: string, told: Told, log: Logger): MetricsServer {
  try {
    return serve(address, told, log);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : cause;
    throw new EnvError(`Cannot serve metrics at TESSERA_METRICS="${address}": ${why}`);
  }
}

function serve(address: string, told: Told, log: Logger): MetricsServer {
  const at = address.lastIndexOf(":");
  const server = Deno.serve({
    hostname: address.slice(0, at),
    port: Number(address.slice(at + 1)),
    onListen: ({ hostname, port }) => log.info("metrics_listening", { url: `http://${hostname}:${port}/metrics` }),
    onError: (error) => {
      log.error("metrics_failed", { error });
      return new Response("Something went wrong.\n", { status: 500 });
    },
  }, async (request) => {
    if (request.method !== "GET") return new Response(null, { status: 405, headers: { allow: "GET" } });
    switch (new URL(request.url).pathname) {
      case "/metrics": {
        const { type, text } = await told.metrics();
        return new Response(text, { headers: { "content-type": type } });
      }
      case "/healthz":
        return Response.json({ status: "ok" });
      case "/readyz":
        return told.isReady()
          ? Response.json({ status: "ready" })
          : Response.json({ status: "not_ready" }, { status: 503 });
      default:
        return new Response("Not found.\n", { status: 404 });
    }
  });
  return { port: server.addr.port, close: () => server.shutdown() };
}

/** Boots an edge from the environment, and drains it on SIGINT or SIGTERM; a second signal does not wait. */
import { createLogger, EnvError, type Logger, readEnv, unknownVariables } from "@tessera/shared";
import { type Edge, needsKeys, readEdgeConfig, startEdge } from "./mod.ts";

async function boot(): Promise<void> {
  const getEnv = (name: string) => Deno.env.get(name);
  const config = readEdgeConfig(getEnv);
  const log = createLogger({ ...config.log, sink: (line) => console.log(line) });
  for (const unknown of unknownVariables(Object.keys(Deno.env.toObject()))) {
    log.warn("unknown_variable", { ...unknown });
  }
  keepServing(log);
  const edge = await startEdge({ config, log });
  if (config.auth === "auto" && needsKeys(config)) void refuseWithoutKeys(edge, config.host);

  let isStopping = false;
  const stop = () => {
    if (isStopping) return;
    isStopping = true;
    void edge.drain().finally(() => Deno.exit(0));
  };
  // Signals alone are counted: where a parent watches over us, standard input may end just before the first one.
  let numSignals = 0;
  const onSignal = () => ++numSignals > 1 ? Deno.exit(130) : stop();
  Deno.addSignalListener("SIGINT", onSignal);
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", onSignal);
  if (readEnv(["TESSERA_SUPERVISED"], getEnv).TESSERA_SUPERVISED) void endOf(Deno.stdin.readable).then(stop);
}

/** A fault that nobody caught is one request's; the others go on. */
function keepServing(log: Logger): void {
  addEventListener("error", (event) => {
    event.preventDefault();
    log.error("uncaught", { error: event.error });
  });
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    log.error("uncaught", { error: event.reason });
  });
}

/** Nobody could ask a server that needs keys and has none: whoever started it is told so. */
async function refuseWithoutKeys(edge: Edge, host: string): Promise<void> {
  await edge.deps.keys.listed;
  if (edge.deps.keys.size > 0) return;
  console.error(
    `TESSERA_HOST="${host}" is open to other machines, and there is no API key. ` +
      "Make one with `deno task tessera keys create <name>`, or set TESSERA_AUTH=off to let everybody in.",
  );
  await edge.close();
  Deno.exit(2);
}

/** Resolves when the stream ends; what it holds is thrown away. */
async function endOf(stream: ReadableStream<Uint8Array>): Promise<void> {
  for await (const _chunk of stream);
}

try {
  await boot();
} catch (error) {
  if (!(error instanceof EnvError)) throw error;
  console.error(error.message);
  Deno.exit(2);
}

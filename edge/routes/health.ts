/** GET /, /healthz and /readyz: where to look, whether the process lives, whether it can answer questions now. */
import type { Context } from "hono";
import type { EdgeContext, EdgeDeps } from "../deps.ts";

export function home(c: Context<EdgeContext>): Response {
  return c.json({
    name: "tessera",
    about: "OpenAI-compatible server for InternVL3 vision-language models.",
    routes: [
      "POST /v1/chat/completions",
      "POST /v1/batch/chat/completions",
      "POST /v1/images/inspect",
      "POST /v1/tokenize",
      "POST /v1/captions",
      "GET /v1/captions",
      "GET /v1/captions/{id}",
      "POST /v1/captions/{id}/cancel",
      "DELETE /v1/captions/{id}",
      "POST /v1/batches",
      "GET /v1/batches",
      "GET /v1/batches/{id}",
      "POST /v1/batches/{id}/cancel",
      "POST /v1/files",
      "GET /v1/files",
      "GET /v1/files/{id}",
      "GET /v1/files/{id}/content",
      "DELETE /v1/files/{id}",
      "GET /v1/models",
      "GET /v1/models/{id}",
      "GET /v1/fleet",
      "GET /v1/usage",
      "GET /openapi.json",
      "GET /docs",
      "GET /healthz",
      "GET /readyz",
    ],
  });
}

export function healthz(c: Context<EdgeContext>): Response {
  return c.json({ status: "ok" });
}

export function readyz(deps: EdgeDeps) {
  let isPoolReady = false;
  deps.tilePool.ready.then(() => isPoolReady = true, (error) => {
    // An edge that ends before its pool is warm has not lost it.
    if (!deps.admission.isDraining) deps.log.error("tile_pool_failed", { error });
  });
  return (c: Context<EdgeContext>): Response => {
    const reasons: string[] = [];
    if (deps.admission.isDraining) reasons.push("The server is shutting down.");
    if (!deps.bus.isConnected) reasons.push("The message bus is not connected.");
    if (!isPoolReady) reasons.push("The tile workers are not ready.");
    if (!deps.directory.isServed()) {
      const areStrange = deps.directory.incompatible().length > 0;
      reasons.push(areStrange ? "All model workers are of another version." : "No model worker is announced.");
    }
    if (reasons.length === 0) return c.json({ status: "ready" });
    return c.json({ status: "not_ready", reasons }, 503, { "retry-after": "1" });
  };
}

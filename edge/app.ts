/** The HTTP application: routes, request ids, one place for errors. Knows no sockets. */
import { endSpan, inSpan, newId, startSpan, TesseraError, TRACEPARENT } from "@tessera/shared";
import { toEdgeError } from "./dispatch/bus_faults.ts";
import { type Context, Hono } from "hono";
import { matchedRoutes } from "hono/route";
import { decodeBodies } from "./api/content_encoding.ts";
import { allowOrigins, guardAnswers } from "./browser_headers.ts";
import type { EdgeContext, EdgeDeps } from "./deps.ts";
import { batchCompletions } from "./routes/batch.ts";
import { chatCompletions } from "./routes/chat_completions.ts";
import { resumeStream } from "./resume/route.ts";
import { cancelBatch, createBatch, getBatch, listBatches } from "./routes/batches.ts";
import { cancelCaption, createCaption, deleteCaption, getCaption, listCaptions } from "./routes/captions.ts";
import { deleteFile, getFile, getFileContent, listFiles, uploadFile } from "./routes/files.ts";
import { inspectImages } from "./routes/inspect.ts";
import { fleet } from "./routes/fleet.ts";
import { healthz, readyz } from "./routes/health.ts";
import { docsPage, openApiJson } from "./routes/docs.ts";
import { getModel, listModels } from "./routes/models.ts";
import { greetSender, receiveHook } from "./routes/hooks.ts";
import { metrics } from "./routes/metrics.ts";
import { playground } from "./routes/playground.ts";
import { tokenize } from "./routes/tokenize.ts";
import { usage } from "./routes/usage.ts";
import { createSecret, deleteSecret, listSecrets } from "./routes/webhook_secrets.ts";
import { onceSent } from "./stream/once_sent.ts";
import { listDeadLetters, listDeliveries, redeliver, testWebhook } from "./routes/webhooks.ts";

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

export function createApp(deps: EdgeDeps): Hono<EdgeContext> {
  const app = new Hono<EdgeContext>();
  app.use(identify(deps));
  const origins = deps.config.corsOrigins ?? [];
  app.use(guardAnswers(origins.length > 0));
  app.use("/v1/*", allowOrigins(origins));
  app.use(deps.gate.middleware());
  app.use(deps.idempotency.middleware());
  app.use(decodeBodies());
  const pages = playground(deps);
  app.get("/", pages.page);
  app.get("/playground/:file", pages.file);
  app.get("/healthz", healthz);
  app.get("/metrics", metrics(deps));
  app.get("/readyz", readyz(deps));
  app.get("/v1/models", listModels(deps));
  app.get("/v1/models/*", getModel(deps));
  app.post("/v1/chat/completions", chatCompletions(deps));
  app.post("/v1/batch/chat/completions", batchCompletions(deps));
  app.get("/v1/chat/completions/:id/stream", resumeStream(deps));
  app.post("/v1/images/inspect", inspectImages(deps));
  app.post("/v1/tokenize", tokenize(deps));
  app.post("/v1/captions", createCaption(deps));
  app.get("/v1/captions", listCaptions(deps));
  app.get("/v1/captions/:id", getCaption(deps));
  app.delete("/v1/captions/:id", deleteCaption(deps));
  app.post("/v1/captions/:id/cancel", cancelCaption(deps));
  app.get("/v1/captions/:id/deliveries", listDeliveries(deps));
  app.post("/v1/captions/:id/deliveries/:delivery_id/redeliver", redeliver(deps));
  app.get("/v1/webhooks/dead_letters", listDeadLetters(deps));
  app.post("/v1/webhooks/test", testWebhook(deps));
  app.post("/v1/webhooks/secrets", createSecret(deps));
  app.get("/v1/webhooks/secrets", listSecrets(deps));
  app.delete("/v1/webhooks/secrets/:id", deleteSecret(deps));
  app.post("/v1/hooks/:source", receiveHook(deps));
  app.on("OPTIONS", "/v1/hooks/:source", greetSender(deps));
  app.post("/v1/batches", createBatch(deps));
  app.get("/v1/batches", listBatches(deps));
  app.get("/v1/batches/:id", getBatch(deps));
  app.post("/v1/batches/:id/cancel", cancelBatch(deps));
  app.post("/v1/files", uploadFile(deps));
  app.get("/v1/files", listFiles(deps));
  app.get("/v1/files/:id", getFile(deps));
  app.delete("/v1/files/:id", deleteFile(deps));
  app.get("/v1/files/:id/content", getFileContent(deps));
  app.get("/v1/usage", usage(deps));
  app.get("/v1/fleet", fleet(deps));
  app.get("/openapi.json", openApiJson);
  app.get("/docs", docsPage);
  for (
    const [path, allow] of [
      ["/v1/batch/chat/completions", "POST"],
      ["/v1/chat/completions", "POST"],
      ["/v1/tokenize", "POST"],
      ["/v1/images/inspect", "POST"],
      ["/v1/captions", "GET, POST"],
      ["/v1/captions/:id", "GET, DELETE"],
      ["/v1/captions/:id/cancel", "POST"],
      ["/v1/captions/:id/deliveries", "GET"],
      ["/v1/captions/:id/deliveries/:delivery_id/redeliver", "POST"],
      ["/v1/webhooks/dead_letters", "GET"],
      ["/v1/webhooks/test", "POST"],
      ["/v1/webhooks/secrets", "GET, POST"],
      ["/v1/webhooks/secrets/:id", "DELETE"],
      ["/v1/hooks/:source", "OPTIONS, POST"],
      ["/v1/batches", "GET, POST"],
      ["/v1/batches/:id", "GET"],
      ["/v1/batches/:id/cancel", "POST"],
      ["/v1/files", "GET, POST"],
      ["/v1/files/:id", "GET, DELETE"],
      ["/v1/files/:id/content", "GET"],
      ["/v1/models", "GET"],
      ["/v1/usage", "GET"],
      ["/v1/fleet", "GET"],
      ["/playground/:file", "GET"],
      ["/v1/models/*", "GET"],
      ["/", "GET"],
      ["/openapi.json", "GET"],
      ["/docs", "GET"],
      ["/healthz", "GET"],
      ["/metrics", "GET"],
      ["/readyz", "GET"],
    ] as const
  ) {
    app.all(path, (c) => {
      c.header("allow", allow);
      throw new TesseraError("method_not_allowed", {
        message: `The route does not accept ${c.req.method}. Use ${allow}.`,
      });
    });
  }
  app.notFound((c) => errorResponse(c, new TesseraError("not_found"), deps));
  app.onError((thrown, c) => {
    const error = toEdgeError(thrown);
    const log = c.get("log") ?? deps.log;
    if (error.status >= 500) log.error("request_failed", { error });
    else if (error.diagnostic !== null) log.warn("request_refused", { error });
    return errorResponse(c, error, deps);
  });
  return app;
}

/** Gives every request an id (the client's own, if it is one) and writes one line when its answer begins. */
function identify({ log, metrics }: EdgeDeps) {
  return async (c: Context<EdgeContext>, next: () => Promise<void>): Promise<void> => {
    const given = c.req.header("x-request-id") ?? "";
    const requestId = REQUEST_ID.test(given) ? given : newId("req");
    const requestedAt = performance.now();
    c.set("requestId", requestId);
    c.set("requestedAt", requestedAt);
    c.set("log", log.with({ request_id: requestId }));
    const { method, path } = c.req;
    const span = startSpan({
      name: method,
      kind: "server",
      traceparent: c.req.header(TRACEPARENT),
      startedAt: requestedAt,
      attributes: { "http.request.method": method, "url.path": path, "tessera.request_id": requestId },
    });
    await inSpan(span, next);
    c.header("x-request-id", requestId);
    const { status } = c.res;
    if (span.isRecording()) {
      const route = routeOf(c);
      span.updateName(`${method} ${route}`);
      span.setAttributes({ "http.route": route, "http.response.status_code": status });
      const end = () => endSpan(span, performance.now(), status >= 500 ? String(status) : null);
      if (isStream(c.res)) c.res = onceSent(c.res, end);
      else end();
    }
    const ms = performance.now() - requestedAt;
    metrics.answered(routeOf(c), method, status, ms);
    c.var.log.info("request", { method, path, status, ms: Math.round(ms) });
  };
}

function isStream(response: Response): boolean {
  return response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
}

/** The route as it is written, so that ids in paths do not make a series each. */
function routeOf(c: Context<EdgeContext>): string {
  const path = matchedRoutes(c).findLast(({ path }) => !path.endsWith("*") || path === "/v1/models/*")?.path;
  return path ?? "other";
}

function errorResponse(c: Context<EdgeContext>, error: TesseraError, { admission, metrics }: EdgeDeps): Response {
  metrics.refused(error.code);
  // Who refused for want of memory or the like knows no pace; it is that of the requests which give it back.
  const retryAfterS = error.retryAfterS ?? (error.code === "rate_limited" ? admission.retryAfterS() : null);
  if (retryAfterS !== null) c.header("retry-after", String(retryAfterS));
  c.header("content-type", "application/json");
  // Hono's list of statuses lacks 499.
  return c.newResponse(JSON.stringify(error.toBody()), error.status as 500);
}

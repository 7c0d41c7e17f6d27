/** GET /metrics: for Prometheus. Where keys are needed, one with the scope `admin` reads them. */
import type { Context } from "hono";
import type { EdgeContext, EdgeDeps } from "../deps.ts";

export function metrics(deps: EdgeDeps) {
  return async (c: Context<EdgeContext>): Promise<Response> => {
    const { type, text } = await deps.metrics.text();
    return c.body(text, 200, { "content-type": type });
  };
}

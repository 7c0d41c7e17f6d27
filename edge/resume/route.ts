/** GET /v1/chat/completions/{id}/stream?after=N: takes a kept answer up again, on any edge. */
import { TesseraError } from "@tessera/shared";
import type { Context } from "hono";
import type { EdgeContext, EdgeDeps } from "../deps.ts";
import { keptResponse, parseEventId } from "./response.ts";

export function resumeStream(deps: EdgeDeps) {
  return async (c: Context<EdgeContext>): Promise<Response> => {
    const id = c.req.param("id") ?? "";
    const given = c.req.query("after");
    const last = parseEventId(c.req.header("last-event-id"));
    if (given !== undefined && !/^\d{1,9}$/.test(given)) {
      throw new TesseraError("invalid_request", { message: "after must be a whole number.", param: "after" });
    }
    const after = given !== undefined ? Number(given) : last?.id === id ? last.after : -1;
    return await resume(deps, c, id, after);
  };
}

/** @throws TesseraError `not_found` */
export async function resume(deps: EdgeDeps, c: Context<EdgeContext>, id: string, after: number): Promise<Response> {
  const tenant = c.var.caller.tenant;
  return keptResponse(deps, id, await deps.answers.follow(id, tenant, after));
}

/** Whether the client wants to take the stream up again should it be cut. */
export function isResumable(c: Context<EdgeContext>): boolean {
  return c.req.header("tessera-resumable") === "true" || c.req.header("idempotency-key") !== undefined;
}

/** Deliveries of webhooks: what became of each, one again, those given up, one to try a receiver. */
import { MAX_URL_CHARS } from "@tessera/shared";
import type { Context } from "hono";
import { z } from "zod";
import { readJsonBody } from "../api/body.ts";
import { invalidRequest } from "../api/issues.ts";
import { pageBody, parseQuery } from "../api/list_query.ts";
import { admitted, type EdgeContext, type EdgeDeps } from "../deps.ts";
import { deliveryBody } from "../webhooks/delivery_body.ts";
import { webhookTarget } from "../webhooks/target.ts";

export const DeadLetterQuery = z.object({
  after: z.string().regex(/^msg_[A-Za-z0-9_-]+$/, "expected the id of a delivery").optional(),
  limit: z.coerce.number().pipe(z.int().min(1).max(100)).default(20),
});

export const WebhookTestBody = z.object({
  url: z.string().min(1).max(MAX_URL_CHARS),
  body: z.enum(["full", "thin"]).optional(),
});

type Route = (c: Context<EdgeContext>) => Promise<Response>;

export function listDeliveries(deps: EdgeDeps): Route {
  return async (c) => {
    const { caption } = await deps.captions.get(c.var.caller.tenant, c.req.param("id") ?? "");
    const records = await deps.webhooks.list(c.var.caller.tenant, caption.id);
    return c.json(pageBody(records.map(deliveryBody), false));
  };
}

export function redeliver(deps: EdgeDeps): Route {
  return async (c) => {
    const owner = c.var.caller.tenant;
    const { caption } = await deps.captions.get(owner, c.req.param("id") ?? "");
    const record = await deps.webhooks.redeliver(owner, caption.id, c.req.param("delivery_id") ?? "");
    return c.json(deliveryBody(record), 202);
  };
}

export function listDeadLetters(deps: EdgeDeps): Route {
  return async (c) => {
    const { after, limit } = parseQuery(DeadLetterQuery, c.req.query());
    const { data, hasMore } = await deps.webhooks.dead(c.var.caller.tenant, limit, after ?? null);
    return c.json(pageBody(data.map(deliveryBody), hasMore));
  };
}

export function testWebhook(deps: EdgeDeps): Route {
  return async (c) => {
    const owner = c.var.caller.tenant;
    const ticket = await admitted(deps, c);
    try {
      const { json } = await readJsonBody(c.req.raw, ticket, deps.config.waits.bodyMs);
      const parsed = WebhookTestBody.safeParse(json);
      if (!parsed.success) throw invalidRequest(parsed.error);
      const target = webhookTarget({ ...parsed.data, param: "url" }, {
        rules: deps.outbound.rules,
        isAvailable: (deps.config.webhookSecrets ?? []).length > 0,
      });
      return c.json(deliveryBody(await deps.webhooks.test(owner, target, c.req.raw.signal)));
    } finally {
      ticket.close();
    }
  };
}

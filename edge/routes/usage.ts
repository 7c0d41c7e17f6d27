/** GET /v1/usage: what an API key used, by day, and what is left of its month. */
import { hasScope, TesseraError } from "@tessera/shared";
import type { Context } from "hono";
import { z } from "zod";
import { parseQuery } from "../api/list_query.ts";
import { dayOf, monthOf, USAGE_FIELDS, type UsageCounts } from "../auth/meter.ts";
import type { EdgeContext, EdgeDeps } from "../deps.ts";

export const UsageQuery = z.object({
  /** First and last day, UTC; the running month where absent. */
  start_date: z.iso.date("expected a day such as 2026-11-25").optional(),
  end_date: z.iso.date("expected a day such as 2026-11-25").optional(),
  /** Another key's; needs the scope `admin`. */
  key_id: z.string().regex(/^key-[a-z0-9]+$/, "expected the id of a key").optional(),
});

export function usage(deps: EdgeDeps) {
  return async (c: Context<EdgeContext>): Promise<Response> => {
    const { key } = c.var.caller;
    if (key === null) {
      throw new TesseraError("not_found", { message: "This server does not check API keys, so it counts nothing." });
    }
    const query = parseQuery(UsageQuery, c.req.query());
    const { key_id: keyId = key.id } = query;
    if (keyId !== key.id && !hasScope(key, "admin")) {
      throw new TesseraError("insufficient_scope", {
        message: 'Other keys\' usage is told to keys with the scope "admin".',
        param: "key_id",
      });
    }
    const now = Date.now();
    const start = query.start_date ?? `${monthOf(now)}-01`;
    const end = query.end_date ?? dayOf(now);
    const days = await deps.meter.usage(keyId, start, end);
    const data = [...days].map(([date, counts]) => ({ date, ...counts }));
    const limit = keyId === key.id ? key.limits.tokens_per_month : deps.keys.byId(keyId)?.limits.tokens_per_month;
    return c.json({
      object: "usage",
      key_id: keyId,
      start_date: start,
      end_date: end,
      data,
      total: total(data),
      month: { tokens: await deps.meter.monthTokens(keyId, now), limit: limit ?? null },
    });
  };
}

function total(days: readonly UsageCounts[]): UsageCounts {
  const sum = (field: (typeof USAGE_FIELDS)[number]) => days.reduce((all, day) => all + day[field], 0);
  return Object.fromEntries(USAGE_FIELDS.map((field) => [field, sum(field)])) as UsageCounts;
}

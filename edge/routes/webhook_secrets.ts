/** /v1/webhooks/secrets: what the caller's webhooks are signed with; a secret is told when it is made, and never again. */
import { TesseraError } from "@tessera/shared";
import type { Context } from "hono";
import { z } from "zod";
import { readJsonBody } from "../api/body.ts";
import { invalidRequest } from "../api/issues.ts";
import { pageBody } from "../api/list_query.ts";
import { admitted, type EdgeContext, type EdgeDeps } from "../deps.ts";
import { parseSecret } from "../webhooks/signature.ts";
import type { SigningSecret } from "../webhooks/signing_secrets.ts";

/** Longest time for which an old secret goes on beside its successor. */
const MAX_OVERLAP_S = 30 * 86_400;

export const CreateSecretBody = z.object({
  secret: z.string().transform((text, context) => {
    try {
      return parseSecret(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message });
      return z.NEVER;
    }
  }).optional(),
  expire_others_in_s: z.int().min(0).max(MAX_OVERLAP_S).optional(),
});

const UnixSeconds = z.int().min(0);

export const SecretAnswer = z.object({
  id: z.string(),
  object: z.literal("webhook.secret"),
  created_at: UnixSeconds,
  expires_at: UnixSeconds.nullable().describe("From then on it signs nothing; null: until it is removed."),
});
export const NewSecretAnswer = SecretAnswer.extend({
  secret: z.string().describe("`whsec_` and base64, as Standard Webhooks' libraries take it. Not told again."),
});
export const SecretListAnswer = z.object({
  object: z.literal("list"),
  data: z.array(SecretAnswer).describe("The newest first; without any, the server's own secrets sign."),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
});
export const SecretDeletedAnswer = z.object({
  id: z.string(),
  object: z.literal("webhook.secret"),
  deleted: z.literal(true),
});

type Route = (c: Context<EdgeContext>) => Promise<Response>;

export function createSecret(deps: EdgeDeps): Route {
  return async (c) => {
    checkAvailable(deps);
    const ticket = await admitted(deps, c);
    try {
      const { json } = hasBody(c.req.raw.headers)
        ? await readJsonBody(c.req.raw, ticket, deps.config.waits.bodyMs)
        : { json: {} };
      const parsed = CreateSecretBody.safeParse(json);
      if (!parsed.success) throw invalidRequest(parsed.error);
      const { secret, expire_others_in_s: expireOthersInS } = parsed.data;
      const { text, ...made } = await deps.signing.add(c.var.caller.tenant, { secret, expireOthersInS });
      c.var.log.info("signing_secret_created", { secret_id: made.id });
      c.header("cache-control", "no-store");
      return c.json({ ...secretBody(made), secret: text }, 201);
    } finally {
      ticket.close();
    }
  };
}

export function listSecrets(deps: EdgeDeps): Route {
  return async (c) => {
    checkAvailable(deps);
    return c.json(pageBody((await deps.signing.list(c.var.caller.tenant)).map(secretBody), false));
  };
}

export function deleteSecret(deps: EdgeDeps): Route {
  return async (c) => {
    checkAvailable(deps);
    const id = c.req.param("id") ?? "";
    await deps.signing.remove(c.var.caller.tenant, id);
    c.var.log.info("signing_secret_removed", { secret_id: id });
    return c.json({ id, object: "webhook.secret", deleted: true });
  };
}

/** All of it may be left out. */
function hasBody(headers: Headers): boolean {
  return headers.has("transfer-encoding") || (headers.get("content-length") ?? "0") !== "0";
}

/** Without a secret of the deployment nothing is signed, and nothing can be sealed. */
function checkAvailable({ config }: EdgeDeps): void {
  if ((config.webhookSecrets ?? []).length === 0) throw new TesseraError("webhooks_unavailable");
}

function secretBody({ id, created_ms, expires_ms }: SigningSecret): z.infer<typeof SecretAnswer> {
  return {
    id,
    object: "webhook.secret",
    created_at: Math.floor(created_ms / 1_000),
    expires_at: expires_ms === null ? null : Math.floor(expires_ms / 1_000),
  };
}

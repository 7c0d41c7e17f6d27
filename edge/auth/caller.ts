/** Who sends a request: found once, at the beginning, for every route. */
import { ANONYMOUS, sha256Hex } from "@tessera/shared";
import type { Context } from "hono";
import type { EdgeContext } from "../deps.ts";

export interface Caller {
  /** Owner of jobs, files and cached prefixes: one word, never the key itself. */
  readonly tenant: string;
}

/** Characters of a hash: enough that two keys are never one tenant. */
const TENANT_CHARS = 32;

/** The bearer token of a request; null without one. */
export function bearerToken(authorization: string | undefined): string | null {
  return authorization?.match(/^Bearer\s+(\S.*)$/i)?.[1]?.trim() ?? null;
}

/** Where keys are not checked, whatever token is sent tells tenants apart. */
export async function unchecked(token: string | null): Promise<Caller> {
  if (token === null) return { tenant: ANONYMOUS };
  return { tenant: (await sha256Hex(new TextEncoder().encode(token))).slice(0, TENANT_CHARS) };
}

/** Sets `c.var.caller`. */
export function authenticate() {
  return async (c: Context<EdgeContext>, next: () => Promise<void>): Promise<void> => {
    c.set("caller", await unchecked(bearerToken(c.req.header("authorization"))));
    await next();
  };
}

/** Who sends a request: found once, at the beginning, for every route. */
import { ANONYMOUS, type ApiKey, sha256Hex } from "@tessera/shared";

export interface Caller {
  /** Owner of jobs, files and cached prefixes: one word, never the key itself. */
  readonly tenant: string;
  /** null where keys are not checked. */
  readonly key: ApiKey | null;
}

/** Characters of a hash: enough that two keys are never one tenant. */
const TENANT_CHARS = 32;

/** The bearer token of a request; null without one. */
export function bearerToken(authorization: string | undefined): string | null {
  return authorization?.match(/^Bearer\s+(\S.*)$/i)?.[1]?.trim() ?? null;
}

/** Where keys are not checked, whatever token is sent tells tenants apart. */
export async function uncheckedCaller(token: string | null): Promise<Caller> {
  if (token === null) return { tenant: ANONYMOUS, key: null };
  const hash = await sha256Hex(new TextEncoder().encode(token));
  return { tenant: hash.slice(0, TENANT_CHARS), key: null };
}

/** What a key has left, as answers tell it: OpenAI's x-ratelimit-* and the IETF draft's RateLimit fields. */
import type { KeyLimits } from "@tessera/shared";
import type { Standing } from "./meter.ts";

/** A minute's limits begin anew with each minute. */
const WINDOW_S = 60;

/**
 * Names and values. Source: OpenAI's API reference, "rate limits in headers"; draft-ietf-httpapi-ratelimit-headers.
 * @param now Unix time in ms
 */
export function limitHeaders(limits: KeyLimits, standing: Standing, now: number): Record<string, string> {
  const resetS = Math.max(0, Math.ceil(((standing.minute + 1) * WINDOW_S * 1000 - now) / 1000));
  const headers: Record<string, string> = {};
  const policies: string[] = [];
  const states: string[] = [];
  const tell = (what: "requests" | "tokens", limit: number | null, used: number | null) => {
    if (limit === null || used === null) return;
    const left = Math.max(0, limit - used);
    headers[`x-ratelimit-limit-${what}`] = String(limit);
    headers[`x-ratelimit-remaining-${what}`] = String(left);
    headers[`x-ratelimit-reset-${what}`] = `${resetS}s`;
    policies.push(`"${what}";q=${limit};w=${WINDOW_S}`);
    states.push(`"${what}";r=${left};t=${resetS}`);
  };
  tell("requests", limits.requests_per_minute, standing.requests);
  tell("tokens", limits.tokens_per_minute, standing.tokens);
  if (policies.length > 0) {
    headers["ratelimit-policy"] = policies.join(", ");
    headers["ratelimit"] = states.join(", ");
  }
  return headers;
}

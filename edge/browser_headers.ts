/** What browsers are told: which other sites may call this server, and what they must not do with its answers. */
import type { Context, MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { secureHeaders } from "hono/secure-headers";
import type { EdgeContext } from "./deps.ts";

/** How long a browser remembers that it may. */
const PREFLIGHT_S = 600;
/** Of an answer that is no page: nothing of it runs, and nobody frames it. Pages say what they need themselves. */
const DATA_POLICY = "default-src 'none'; frame-ancestors 'none'";
/** What scripts of other sites may read of an answer, beside its body. */
const EXPOSED = [
  "location",
  "preference-applied",
  "ratelimit",
  "ratelimit-policy",
  "retry-after",
  "server-timing",
  "x-ratelimit-limit-requests",
  "x-ratelimit-limit-tokens",
  "x-ratelimit-remaining-requests",
  "x-ratelimit-remaining-tokens",
  "x-ratelimit-reset-requests",
  "x-ratelimit-reset-tokens",
  "x-request-id",
];

/**
 * Lets scripts of other sites call the routes of /v1. Keys travel in a header, never in a cookie, so that no site can use
 * what another one has.
 * @param origins as browsers name them (`https://app.example`), or `*`; none: no other site
 */
export function allowOrigins(origins: readonly string[]): MiddlewareHandler<EdgeContext> {
  const allow = cors({
    origin: origins.includes("*") ? "*" : [...origins],
    allowMethods: ["GET", "POST", "DELETE"],
    exposeHeaders: EXPOSED,
    maxAge: PREFLIGHT_S,
  });
  return async (c, next) => {
    // Other OPTIONS are for the routes.
    const isPreflight = c.req.method === "OPTIONS" && c.req.header("access-control-request-method") !== undefined;
    if (origins.length === 0 || c.req.method === "OPTIONS" && !isPreflight) return await next();
    return await allow(c, next);
  };
}

/** @param isShared other sites may call: then they may read too */
export function guardAnswers(isShared: boolean): MiddlewareHandler<EdgeContext> {
  const guard = secureHeaders({
    xFrameOptions: "DENY",
    crossOriginResourcePolicy: isShared ? "cross-origin" : "same-origin",
    // TLS is the proxy's, and so is the word that there will always be some.
    strictTransportSecurity: false,
  });
  return async (c: Context<EdgeContext>, next) => {
    await guard(c, next);
    if (!c.res.headers.has("content-security-policy")) c.res.headers.set("content-security-policy", DATA_POLICY);
  };
}

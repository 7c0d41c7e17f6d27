/** GET / for people and /playground/{file}: the page to try the server with. Programs get / as JSON. */
import { TesseraError } from "@tessera/shared";
import type { Context } from "hono";
import type { EdgeContext, EdgeDeps } from "../deps.ts";
import { type Asset, readAssets } from "../playground/assets.ts";
import { home } from "./health.ts";

/** Everything of the page is ours; pictures and videos are the visitor's own, or where an address points. */
const PAGE_POLICY = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; " +
  "img-src 'self' data: blob: https:; media-src data: blob: https:; base-uri 'none'; form-action 'none'; " +
  "frame-ancestors 'none'";

export function playground(deps: EdgeDeps) {
  const assets = readAssets().catch((error) => {
    deps.log.error("playground_unreadable", { error });
    return new Map<string, Asset>();
  });
  const give = async (c: Context<EdgeContext>, name: string): Promise<Response> => {
    const asset: Asset | undefined = (await assets).get(name);
    if (asset === undefined) throw new TesseraError("not_found");
    const { type, text, etag } = asset;
    const headers = {
      "content-type": type,
      "content-security-policy": PAGE_POLICY,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cache-control": "no-cache",
      etag,
      vary: "accept",
    };
    if (c.req.header("if-none-match") === etag) return c.body(null, 304, headers);
    return c.body(text, 200, headers);
  };
  return {
    page: async (c: Context<EdgeContext>): Promise<Response> =>
      wantsPage(c.req.header("accept")) && (await assets).size > 0 ? await give(c, "index.html") : home(c),
    file: (c: Context<EdgeContext>): Promise<Response> => give(c, c.req.param("file") ?? ""),
  };
}

/** Browsers ask for HTML first; curl and clients take anything. */
function wantsPage(accept: string | undefined): boolean {
  return accept !== undefined && /(^|,)\s*text\/html\b/i.test(accept);
}

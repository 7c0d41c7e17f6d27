/** GET /openapi.json and /docs: the interface as a document for programs and as a page for people. */
import type { Context } from "hono";
import type { EdgeContext } from "../deps.ts";
import { openApiDocument } from "../openapi/document.ts";
import { docsHtml } from "../openapi/page.ts";

/** Nothing of the page comes from elsewhere, and nothing in it runs. */
const PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

export function openApiJson(c: Context<EdgeContext>): Response {
  return c.json(openApiDocument());
}

export function docsPage(c: Context<EdgeContext>): Response {
  return c.html(docsHtml(openApiDocument()), 200, { "content-security-policy": PAGE_POLICY });
}

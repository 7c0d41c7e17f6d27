/** /v1/captions: captions as jobs that last, with webhooks; submit, look at, list, cancel, delete. */
import { isFinal, TesseraError } from "@tessera/shared";
import type { Context } from "hono";
import { z } from "zod";
import { readJsonBody } from "../api/body.ts";
import { readCaptionForm } from "../api/caption_form.ts";
import { listFields, pageBody, pageWish, parseQuery } from "../api/list_query.ts";
import { isForm } from "../api/multipart.ts";
import { cancelAfterMs, waitWish } from "../api/prefer.ts";
import { captionBody } from "../captions/caption_body.ts";
import { type Caption, stateOf } from "../captions/caption_state.ts";
import { CAPTION_PREFIX } from "../captions/captions.ts";
import { submitCaption } from "../captions/submit.ts";
import { admitted, type EdgeContext, type EdgeDeps } from "../deps.ts";
import { timeLimit } from "../wait.ts";

export const CaptionListQuery = z.object(listFields({ prefix: CAPTION_PREFIX }));

type Route = (c: Context<EdgeContext>) => Promise<Response>;

export function createCaption(deps: EdgeDeps): Route {
  return async (c) => {
    const expiresInMs = cancelAfterMs(c.req.header("cancel-after"));
    const wait = waitWish(c.req.header("prefer"));
    const { signal } = c.req.raw;
    const ticket = await admitted(deps, c);
    let made: Caption;
    try {
      const body = isForm(c.req.raw)
        ? await readCaptionForm(c.req.raw, ticket)
        : await readJsonBody(c.req.raw, ticket, deps.config.waits.bodyMs);
      made = await submitCaption(deps, {
        owner: c.var.caller,
        body,
        ticket,
        signal,
        ...(expiresInMs === null ? {} : { expiresInMs }),
      });
    } finally {
      ticket.close();
    }
    if (wait !== null) {
      made = await waitFor(deps, c, made, wait.ms);
      c.header("preference-applied", wait.applied);
    }
    c.header("location", `/v1/captions/${made.caption.id}`);
    return c.json(captionBody(made), isFinal(stateOf(made).status) ? 200 : 202);
  };
}

export function getCaption(deps: EdgeDeps): Route {
  return async (c) => {
    const owner = c.var.caller.tenant;
    const wait = waitWish(c.req.header("prefer"));
    let found = await deps.captions.get(owner, c.req.param("id") ?? "");
    if (wait !== null) {
      found = await waitFor(deps, c, found, wait.ms);
      c.header("preference-applied", wait.applied);
    }
    return c.json(captionBody(found));
  };
}

export function listCaptions(deps: EdgeDeps): Route {
  return async (c) => {
    const query = parseQuery(CaptionListQuery, c.req.query());
    const { data, hasMore } = await deps.captions.list(c.var.caller.tenant, pageWish(query));
    return c.json(pageBody(data.map(captionBody), hasMore));
  };
}

export function cancelCaption(deps: EdgeDeps): Route {
  return async (c) => {
    return c.json(captionBody(await deps.captions.cancel(c.var.caller.tenant, c.req.param("id") ?? "")));
  };
}

export function deleteCaption(deps: EdgeDeps): Route {
  return async (c) => {
    const id = c.req.param("id") ?? "";
    await deps.captions.remove(c.var.caller.tenant, id);
    return c.json({ id, object: "caption", deleted: true });
  };
}

/** Waits for the end, at most so long; what is known then. */
async function waitFor(deps: EdgeDeps, c: Context<EdgeContext>, caption: Caption, ms: number): Promise<Caption> {
  if (isFinal(stateOf(caption).status)) return caption;
  // A place of its own: waiting takes no memory, but a connection.
  const ticket = await admitted(deps, c);
  const limit = timeLimit(ms, c.req.raw.signal, () => new TesseraError("request_timeout"));
  try {
    return await deps.captions.wait(c.var.caller.tenant, caption.caption.id, limit.signal);
  } finally {
    limit.clear();
    ticket.close();
  }
}

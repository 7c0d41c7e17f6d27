/** /v1/batches: many requests from a file, answered into files, as OpenAI's clients do it. */
import { TesseraError } from "@tessera/shared";
import type { Context } from "hono";
import { z } from "zod";
import { readJsonBody } from "../api/body.ts";
import { Metadata } from "../api/caption_request.ts";
import { invalidRequest } from "../api/issues.ts";
import { listFields, pageBody, pageWish, parseQuery } from "../api/list_query.ts";
import { BATCH_ENDPOINTS, batchBody } from "../batches/batch_record.ts";
import { BATCH_PREFIX } from "../batches/batches.ts";
import { admitted, type EdgeContext, type EdgeDeps } from "../deps.ts";

const { after, limit } = listFields({ prefix: BATCH_PREFIX });
export const BatchListQuery = z.object({ after, limit });
export const CreateBatchBody = z.strictObject({
  input_file_id: z.string().min(1),
  endpoint: z.enum(BATCH_ENDPOINTS),
  completion_window: z.literal("24h"),
  metadata: Metadata.nullish(),
});

type Route = (c: Context<EdgeContext>) => Promise<Response>;

export function createBatch(deps: EdgeDeps): Route {
  return async (c) => {
    const owner = c.var.caller.tenant;
    const ticket = await admitted(deps, c);
    try {
      const { json } = await readJsonBody(c.req.raw, ticket, deps.config.waits.bodyMs);
      const parsed = CreateBatchBody.safeParse(json);
      if (!parsed.success) throw invalidRequest(parsed.error);
      const { input_file_id, endpoint, metadata } = parsed.data;
      const file = await deps.files.get(owner, input_file_id).catch((error) => {
        if (!(error instanceof TesseraError) || error.code !== "not_found") throw error;
        throw new TesseraError("file_not_found", { message: error.message, param: "input_file_id" });
      });
      if (file.purpose !== "batch") {
        const message = `Invalid 'purpose' for input file. Expected 'batch', got '${file.purpose}'.`;
        throw new TesseraError("invalid_request", { message, param: "input_file_id" });
      }
      const keyId = c.var.caller.key?.id ?? null;
      const wish = { owner, keyId, endpoint, inputFileId: input_file_id, metadata: metadata ?? null };
      return c.json(batchBody(await deps.batches.create(wish)));
    } finally {
      ticket.close();
    }
  };
}

export function listBatches(deps: EdgeDeps): Route {
  return async (c) => {
    const query = parseQuery(BatchListQuery, c.req.query());
    const { data, hasMore } = await deps.batches.list(c.var.caller.tenant, pageWish({ ...query, order: "desc" }));
    return c.json(pageBody(data.map(batchBody), hasMore));
  };
}

export function getBatch(deps: EdgeDeps): Route {
  return async (c) => c.json(batchBody(await deps.batches.get(c.var.caller.tenant, c.req.param("id") ?? "")));
}

export function cancelBatch(deps: EdgeDeps): Route {
  return async (c) => c.json(batchBody(await deps.batches.cancel(c.var.caller.tenant, c.req.param("id") ?? "")));
}

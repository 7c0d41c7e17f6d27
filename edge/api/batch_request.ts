/** The body of POST /v1/batch/chat/completions: many chat requests, with what they have in common said once. */
import { MAX_BATCH_REQUESTS, TesseraError } from "@tessera/shared";
import { z } from "zod";
import { invalidRequest } from "./issues.ts";

export const BatchBody = z.looseObject({
  requests: z.array(z.record(z.string(), z.unknown())).min(1).max(MAX_BATCH_REQUESTS),
  stream: z.boolean().nullish(),
});

export interface BatchRequest {
  /** Bodies of chat completions, not yet checked. */
  readonly requests: readonly Record<string, unknown>[];
  /** Answers as they are ready, each an event; else all in one body. */
  readonly isStream: boolean;
}

/** @throws TesseraError `invalid_request` for what is wrong with the batch as a whole */
export function parseBatchRequest(json: unknown): BatchRequest {
  const parsed = BatchBody.safeParse(json);
  if (!parsed.success) throw invalidRequest(parsed.error);
  const { requests, stream, ...common } = parsed.data;
  return { requests: requests.map((request) => ({ ...common, ...request })), isStream: stream ?? false };
}

/** An error of one of the requests, its place told from the batch's beginning. */
export function inBatch(error: TesseraError, index: number): TesseraError {
  const place = `requests[${index}]`;
  return new TesseraError(error.code, {
    message: error.message,
    param: error.param === null ? place : `${place}.${error.param}`,
    cause: error,
  });
}

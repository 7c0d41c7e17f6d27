/** Error codes on the wire: builds know different ones, and none of that may make a message unreadable. */
import { z } from "zod";
import { ERROR_CODES, type ErrorCode } from "../errors.ts";
import type { WireVersion } from "../wire_version.ts";

/** One that this build does not know reads as `internal_error`. */
export const WireErrorCode = z.string().transform((code): ErrorCode =>
  (ERROR_CODES as readonly string[]).includes(code) ? code as ErrorCode : "internal_error"
);

/** All that readers of version 1 know, which take no message with another one. Never changed. */
const CODES_OF_VERSION_1: ReadonlySet<string> = new Set([
  "invalid_json",
  "invalid_request",
  "unsupported_parameter",
  "unsupported_media_type",
  "model_not_found",
  "not_found",
  "file_not_found",
  "method_not_allowed",
  "context_length_exceeded",
  "request_too_large",
  "too_many_images",
  "image_unsupported_format",
  "image_corrupt",
  "image_too_large",
  "image_url_invalid",
  "image_url_forbidden",
  "image_fetch_failed",
  "video_unsupported_format",
  "video_corrupt",
  "video_too_large",
  "video_unavailable",
  "webhook_url_invalid",
  "webhook_url_forbidden",
  "signature_invalid",
  "webhooks_unavailable",
  "request_timeout",
  "invalid_api_key",
  "insufficient_scope",
  "insufficient_quota",
  "rate_limited",
  "request_in_progress",
  "batch_ended",
  "idempotency_mismatch",
  "client_closed",
  "no_worker",
  "shutting_down",
  "worker_lost",
  "worker_crashed",
  "deadline_exceeded",
  "internal_error",
]);

/** The code as a reader of that version takes it. */
export function errorCodeFor(version: WireVersion, code: ErrorCode): ErrorCode {
  return version === 1 && !CODES_OF_VERSION_1.has(code) ? "internal_error" : code;
}

/** The closed list of errors: a code decides status, retry and OpenAI type; the message is for the caller. */

interface ErrorRow {
  readonly status: 400 | 401 | 403 | 404 | 405 | 408 | 409 | 413 | 415 | 422 | 429 | 499 | 500 | 502 | 503 | 504;
  /** OpenAI's error type. */
  readonly type: "invalid_request_error" | "authentication_error" | "rate_limit_error" | "server_error";
  /** Whether the same request may succeed later; becomes Retry-After. */
  readonly retryAfterS: number | null;
  readonly message: string;
}

const bad = (message: string, status: ErrorRow["status"] = 400): ErrorRow => ({
  status,
  type: "invalid_request_error",
  retryAfterS: null,
  message,
});
const server = (message: string, status: ErrorRow["status"], retryAfterS: number | null): ErrorRow => ({
  status,
  type: "server_error",
  retryAfterS,
  message,
});

const TABLE = {
  invalid_json: bad("The request body is not valid JSON. Send a JSON object with Content-Type: application/json."),
  invalid_request: bad("The request is not valid."),
  unsupported_parameter: bad("The request uses a parameter this server does not support."),
  unsupported_media_type: bad("The request body must be JSON. Set Content-Type: application/json.", 415),
  model_not_found: bad("The model does not exist on this server. GET /v1/models lists the models.", 404),
  not_found: bad("No such route. See GET /v1/models and POST /v1/chat/completions.", 404),
  file_not_found: bad("There is no such file of this API key.", 404),
  method_not_allowed: bad("The route does not accept this method.", 405),
  context_length_exceeded: bad(
    "The prompt is longer than the model's context. Shorten the text or send fewer pictures.",
  ),
  request_too_large: bad("The request is too large.", 413),
  too_many_images: bad("The request has too many pictures."),
  image_unsupported_format: bad("The picture is of no supported format. Send JPEG, PNG, WebP, GIF or BMP."),
  image_corrupt: bad("The picture is damaged or cut short. Send the complete file."),
  image_too_large: bad("The picture is too large. Send a smaller one."),
  image_url_invalid: bad("The picture's URL is not valid. Use https: or data: URLs."),
  image_url_forbidden: bad("The picture's URL may not be fetched from this server."),
  image_fetch_failed: bad("The picture could not be fetched from its URL."),
  video_unsupported_format: bad("The video is of no supported format. Send MP4, MOV, WebM, MKV or GIF."),
  video_corrupt: bad("The video is damaged or cut short. Send the complete file."),
  video_too_large: bad("The video is too large. Send a smaller or shorter one."),
  video_unavailable: bad("This server takes no videos: video needs FFmpeg where its workers run. Send pictures."),
  webhook_url_invalid: bad("The webhook's URL is not valid. Use an https: URL without a name and password."),
  webhook_url_forbidden: bad("The webhook's URL may not be called from this server."),
  signature_invalid: {
    status: 401,
    type: "authentication_error",
    retryAfterS: null,
    message: "The event's signature is not valid.",
  },
  origin_not_allowed: bad("Events of this origin are not taken here.", 403),
  webhooks_unavailable: bad("This server delivers no webhooks: it has no secret to sign them with."),
  request_timeout: bad("The request body came too slowly.", 408),
  invalid_api_key: {
    status: 401,
    type: "authentication_error",
    retryAfterS: null,
    message: "The API key is missing or not known here. Send Authorization: Bearer <key>.",
  },
  insufficient_scope: {
    status: 403,
    type: "authentication_error",
    retryAfterS: null,
    message: "The API key may not be used for this.",
  },
  insufficient_quota: {
    status: 429,
    type: "rate_limit_error",
    retryAfterS: null,
    message: "The API key's tokens of this month are used up.",
  },
  rate_limited: {
    status: 429,
    type: "rate_limit_error",
    // Told by the figures of whoever refuses.
    retryAfterS: null,
    message: "The server is busy. Try again in a moment.",
  },
  request_in_progress: {
    status: 409,
    type: "invalid_request_error",
    retryAfterS: 1,
    message: "A request with this Idempotency-Key is being run. Try again in a moment.",
  },
  batch_ended: bad("The batch has ended already.", 409),
  idempotency_mismatch: bad("The Idempotency-Key was used with another request body. Use a new key.", 422),
  client_closed: bad("The client closed the request.", 499),
  no_worker: server("No worker is serving this model now. Try again in a moment.", 503, 5),
  incompatible_version: server(
    "Server and workers are of versions that do not work together. Try again in a moment.",
    503,
    30,
  ),
  shutting_down: server("The server is shutting down. Try again in a moment.", 503, 5),
  worker_lost: server("The worker stopped answering before the answer was complete. Try again.", 502, 1),
  worker_crashed: server("The request ended every worker that took it, and is not tried again.", 500, null),
  deadline_exceeded: server("The request took longer than its time limit.", 504, null),
  internal_error: server("Something went wrong inside the server.", 500, null),
} as const satisfies Record<string, ErrorRow>;

/** Stable reason of an error, as clients and metrics see it. */
export type ErrorCode = keyof typeof TABLE;
export const ERROR_CODES = Object.keys(TABLE) as [ErrorCode, ...ErrorCode[]];

/** Details of one occurrence. */
export interface ErrorDetails {
  /** Text for the caller; the code's own text when absent. Nothing of the inside may stand in it. */
  readonly message?: string;
  /** Where in the request: `messages[1].content[2]`. */
  readonly param?: string | null;
  /** When the same request may succeed, where that is known better than by the code. */
  readonly retryAfterS?: number;
  /** For the log alone. */
  readonly diagnostic?: string;
  readonly cause?: unknown;
}

/** An error with a stable code. Everything that leaves edge or worker is one of these. */
export class TesseraError extends Error {
  override readonly name = "TesseraError";
  readonly code: ErrorCode;
  readonly param: string | null;
  readonly diagnostic: string | null;
  readonly #retryAfterS: number | null;

  constructor(code: ErrorCode, details: ErrorDetails = {}) {
    super(details.message ?? TABLE[code].message, details.cause === undefined ? {} : { cause: details.cause });
    this.code = code;
    this.param = details.param ?? null;
    this.diagnostic = details.diagnostic ?? null;
    this.#retryAfterS = details.retryAfterS ?? TABLE[code].retryAfterS;
  }

  get status(): ErrorRow["status"] {
    return TABLE[this.code].status;
  }

  get retryAfterS(): number | null {
    return this.#retryAfterS;
  }

  /** The body OpenAI clients expect. */
  toBody(): { error: { message: string; type: string; param: string | null; code: ErrorCode } } {
    return { error: { message: this.message, type: TABLE[this.code].type, param: this.param, code: this.code } };
  }
}

/** Any thrown value as a TesseraError; what is not one becomes `internal_error` and keeps its text for the log alone. */
export function toTesseraError(thrown: unknown): TesseraError {
  if (thrown instanceof TesseraError) return thrown;
  return new TesseraError("internal_error", { diagnostic: String(thrown), cause: thrown });
}

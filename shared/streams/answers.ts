/** Answers that are kept: streams to take up again, and those given under an Idempotency-Key. */
import { ANSWER_MAX_AGE_MS, ANSWERS_MAX_BYTES, REQUEST_MAX_AGE_MS } from "../limits.ts";
import { ANSWERS_STREAM, ANSWERS_WILDCARD, REQUESTS_BUCKET } from "../subjects.ts";
import { NANOS_PER_MS } from "./nanos.ts";

/** Events of answers that can be taken up again. */
export const ANSWERS_STREAM_CONFIG = {
  name: ANSWERS_STREAM,
  subjects: [ANSWERS_WILDCARD],
  storage: "memory",
  retention: "limits",
  discard: "old",
  max_age: ANSWER_MAX_AGE_MS * NANOS_PER_MS,
  max_bytes: ANSWERS_MAX_BYTES,
} as const;

/** The bucket of Idempotency-Keys and the answers given under them. */
export const REQUESTS_BUCKET_CONFIG = {
  name: REQUESTS_BUCKET,
  options: { ttl: REQUEST_MAX_AGE_MS, storage: "file", history: 1 },
} as const;

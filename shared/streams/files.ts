/** Files: their bytes, and what is known of them. */
import { FILE_MAX_AGE_MS, FILES_MAX_BYTES } from "../limits.ts";
import { FILE_RECORDS_BUCKET, FILES_BUCKET } from "../subjects.ts";
import { NANOS_PER_MS } from "./nanos.ts";

/** Files' bytes; full means "busy". `ttl` in nanoseconds as the object store's client takes it. */
export const FILES_BUCKET_CONFIG = {
  name: FILES_BUCKET,
  options: { ttl: FILE_MAX_AGE_MS * NANOS_PER_MS, storage: "file", max_bytes: FILES_MAX_BYTES },
} as const;

/** What is known of files. */
export const FILE_RECORDS_BUCKET_CONFIG = {
  name: FILE_RECORDS_BUCKET,
  options: { ttl: FILE_MAX_AGE_MS, storage: "file", history: 1 },
} as const;

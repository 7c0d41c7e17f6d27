/** The announcements of workers. */
import { ANNOUNCEMENT_TTL_MS } from "../limits.ts";
import { WORKERS_BUCKET } from "../subjects.ts";

/** The bucket of announcements; `ttl` in ms as the KV client takes it. */
export const WORKERS_BUCKET_CONFIG = {
  name: WORKERS_BUCKET,
  options: { ttl: ANNOUNCEMENT_TTL_MS, storage: "memory", history: 1 },
} as const;

/** Configuration of the streams and buckets, as plain data; edge and worker create them alike, whoever comes first. */
export * from "./answers.ts";
export * from "./batches.ts";
export * from "./durable_jobs.ts";
export * from "./files.ts";
export * from "./keys.ts";
export * from "./live_jobs.ts";
export * from "./webhooks.ts";
export * from "./workers.ts";

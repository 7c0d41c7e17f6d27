/** What edge and worker agree on: wire contract, subjects, limits, errors, environment, log. No I/O. */
export * from "./contract/announcement.ts";
export * from "./contract/claim.ts";
export * from "./contract/codec.ts";
export * from "./contract/dead_letter.ts";
export * from "./contract/events.ts";
export * from "./contract/generation.ts";
export * from "./contract/job.ts";
export * from "./contract/job_record.ts";
export * from "./contract/tile.ts";
export * from "./env.ts";
export * from "./errors.ts";
export * from "./ids.ts";
export * from "./internvl3.ts";
export * from "./limits.ts";
export * from "./log.ts";
export * from "./streams.ts";
export * from "./subjects.ts";

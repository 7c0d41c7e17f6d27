/** The job envelope: everything a worker needs to run a request, except pixels. Edge to worker over JetStream. */
import { z } from "zod";
import {
  MAX_CACHE_SALT_CHARS,
  MAX_CHOICES,
  MAX_LOGIT_BIAS,
  MAX_PRIORITY,
  MAX_REPETITION_PENALTY,
  MAX_STOP_TOKEN_IDS,
  MAX_TOP_LOGPROBS,
} from "../limits.ts";
import { WireVersion } from "../wire_version.ts";

/** Lower-case hex SHA-256 of a tile's raw pixels. */
export const TileHash = z.string().regex(/^[0-9a-f]{64}$/);

/** One piece of a message: text as typed, or the place of a picture. */
export const JobPart = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text"), text: z.string() }),
  /** Index into the job's `images`. */
  z.object({ type: z.literal("image"), image: z.int().min(0) }),
  /** Pictures combined: the tiles of all, in this order, under one placeholder. */
  z.object({ type: z.literal("images"), images: z.array(z.int().min(0)).min(1) }),
]);

export const JobMessage = z.object({
  role: z.enum(["system", "user", "assistant"]),
  parts: z.array(JobPart),
});

/** One picture after tiling. `tiles` are row-major, the thumbnail (if any) last. */
export const JobImage = z.object({
  width: z.int().positive(),
  height: z.int().positive(),
  cols: z.int().positive(),
  rows: z.int().positive(),
  tile_size: z.int().positive(),
  tiles: z.array(TileHash).min(1),
});

/** What `logit_bias` adds to the logit of a token id. */
const LogitBias = z.tuple([z.int().min(0), z.number().min(-100).max(100)]);

/**
 * How tokens are drawn, and when an answer ends. The edge fills in every field, the seed too, so that a second attempt
 * draws the same. Fields with defaults are younger than the contract's first version.
 */
export const Sampling = z.object({
  /** 0 is greedy. */
  temperature: z.number().min(0).max(2),
  top_p: z.number().gt(0).max(1),
  /** 0 is off. */
  top_k: z.int().min(0),
  seed: z.int().min(0),
  /** Ids of each answer; null: as many as the context holds. */
  max_tokens: z.int().positive().nullable(),
  stop: z.array(z.string().min(1)),
  /** Tokens less likely than this share of the likeliest are not drawn; 0 is off. */
  min_p: z.number().min(0).max(1).default(0),
  /** Over prompt and answer; 1 is off. */
  repetition_penalty: z.number().gt(0).max(MAX_REPETITION_PENALTY).default(1),
  /** Over the answer; 0 is off. */
  presence_penalty: z.number().min(-2).max(2).default(0),
  frequency_penalty: z.number().min(-2).max(2).default(0),
  /** Each id once. */
  logit_bias: z.array(LogitBias).max(MAX_LOGIT_BIAS).default([]),
  /** Before that many ids nothing that ends an answer is drawn. */
  min_tokens: z.int().min(0).default(0),
  /** Ids that end an answer in addition to the model's own; like those, not part of it. */
  stop_token_ids: z.array(z.int().min(0)).max(MAX_STOP_TOKEN_IDS).default([]),
  /** The model's own end does not end the answer. */
  ignore_eos: z.boolean().default(false),
  /** Answers to the one prompt. */
  n: z.int().min(1).max(MAX_CHOICES).default(1),
  /** Likeliest tokens told with each token; 0: the log-probability of the token alone; null: none. */
  logprobs: z.int().min(0).max(MAX_TOP_LOGPROBS).nullable().default(null),
});

/** Whose requests nobody can tell. */
export const ANONYMOUS = "anonymous";

export const Job = z.object({
  v: WireVersion,
  id: z.string().min(1),
  model: z.string().min(1),
  /** Edge instance that holds the client; the reply address. */
  edge_id: z.string().min(1),
  /** Unix time in ms on the edge's clock. */
  created_ms: z.number(),
  /** Added to the number of a delivery to make its attempt; a job that is published again starts behind the earlier ones. */
  attempt_base: z.int().min(0).optional(),
  messages: z.array(JobMessage).min(1),
  images: z.array(JobImage),
  sampling: Sampling,
  /** Whose request it is, for fair shares and for the prefix cache; says nothing of the key it was made with. */
  tenant: z.string().min(1).max(64).default(ANONYMOUS),
  /** Smaller goes first; 0 is usual. */
  priority: z.int().min(-MAX_PRIORITY).max(MAX_PRIORITY).default(0),
  /** KV blocks are shared only with requests of the same tenant and salt. */
  cache_salt: z.string().max(MAX_CACHE_SALT_CHARS).default(""),
});

/** What never changes in an envelope, whatever its version: enough to refuse a job by its name. */
export const JobCore = z.object({
  v: z.int().positive(),
  id: z.string().min(1),
  edge_id: z.string().min(1),
  attempt_base: z.int().min(0).default(0),
});
export type JobCore = z.infer<typeof JobCore>;

export type JobPart = z.infer<typeof JobPart>;
export type JobMessage = z.infer<typeof JobMessage>;
export type JobImage = z.infer<typeof JobImage>;
export type Sampling = z.infer<typeof Sampling>;
export type Job = z.infer<typeof Job>;

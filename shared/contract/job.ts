/** The job envelope: everything a worker needs to run a request, except pixels. Edge to worker over JetStream. */
import { z } from "zod";

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

/** How tokens are drawn. The edge fills in every field, the seed too, so that a second attempt draws the same. */
export const Sampling = z.object({
  temperature: z.number().min(0).max(2),
  top_p: z.number().gt(0).max(1),
  /** 0 is off. */
  top_k: z.int().min(0),
  seed: z.int().min(0),
  /** null: as many as the context holds. */
  max_tokens: z.int().positive().nullable(),
  stop: z.array(z.string().min(1)),
});

export const Job = z.object({
  v: z.literal(1),
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
});

export type JobPart = z.infer<typeof JobPart>;
export type JobMessage = z.infer<typeof JobMessage>;
export type JobImage = z.infer<typeof JobImage>;
export type Sampling = z.infer<typeof Sampling>;
export type Job = z.infer<typeof Job>;

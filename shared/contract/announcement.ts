/**
 * A worker's announcement in the workers bucket: what it serves and how busy it is. Renewed by heartbeat. Versions are
 * agreed on by it, so it has none of its own: it only ever gets more fields.
 */
import { z } from "zod";
import { GenerationDefaults } from "./generation.ts";

export const Announcement = z.object({
  v: z.literal(1),
  worker_id: z.string().min(1),
  model: z.string().min(1),
  /** Unix seconds; `created` of the model in the API. */
  created: z.int().min(0),
  tile_size: z.int().positive(),
  tokens_per_tile: z.int().positive(),
  min_tiles: z.int().positive(),
  max_tiles: z.int().positive(),
  thumbnail: z.boolean(),
  context_length: z.int().positive(),
  /** Sequences it decodes at once, and how many it has. */
  capacity: z.int().positive(),
  running: z.int().min(0),
  /** Interactive jobs that wait on the bus for a worker of the model, as far as this one may take them. */
  queued: z.int().min(0).optional(),
  /** Jobs that ended here, on average of the last half minute; absent: none yet. */
  jobs_per_s: z.number().min(0).optional(),
  /** It pulls from a queue of its own as well, for jobs whose pictures or prefixes it has. */
  routed: z.boolean().optional(),
  device: z.string(),
  dtype: z.string(),
  isa: z.string(),
  /** True while it finishes what it has and takes nothing new. */
  draining: z.boolean(),
  /** Versions of the wire it speaks; absent: the first alone. */
  wire_versions: z.array(z.int().positive()).optional(),
  /** How the checkpoint wants to be decoded; absent: greedily. */
  generation: GenerationDefaults.optional(),
});

/** What never changes in an announcement, whatever its version: enough to see whether one can talk to the worker. */
export const AnnouncementCore = Announcement.pick({ worker_id: true, model: true, wire_versions: true });
export type AnnouncementCore = z.infer<typeof AnnouncementCore>;

export type Announcement = z.infer<typeof Announcement>;

/** A job that was given up because it ended every worker that took it, and why. Kept for people to look into. */
import { z } from "zod";
import { Job } from "./job.ts";

export const DeadLetter = z.object({
  v: z.literal(1),
  /** Unix time in ms on the clock of whoever parked it. */
  parked_ms: z.number(),
  /** Attempts in all, and what the last ones have in common. */
  attempts: z.int().min(1),
  reason: z.string(),
  /** Workers of the attempts that were lost, the latest last. */
  worker_ids: z.array(z.string()),
  job: Job,
});

export type DeadLetter = z.infer<typeof DeadLetter>;

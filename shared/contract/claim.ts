/** Claim and want: a worker asks the edge for a job it pulled; the edge grants it and sends the wanted tiles. */
import { z } from "zod";
import { WireVersion } from "../wire_version.ts";
import { TileHash } from "./job.ts";

/** Worker to edge, as a request on the job's claim subject. */
export const Claim = z.object({
  v: WireVersion,
  job_id: z.string().min(1),
  worker_id: z.string().min(1),
  /** 1 for the first delivery; the edge drops events of attempts older than the newest it granted. */
  attempt: z.int().min(1),
  /** Tiles the worker has no embedding of. Sent by the edge in this order. */
  want: z.array(TileHash),
  /**
   * Whether the job's turn has come: true when the worker begins with one that may end it, false when it asks for the
   * first time. Tiles of such a job are sent, and its worker's end is held against it, only from then on.
   */
  trial: z.boolean().optional(),
});

/** The edge's answer. */
export const ClaimReply = z.discriminatedUnion("granted", [
  z.object({
    v: WireVersion,
    granted: z.literal(true),
    /** Ids the edge has already passed on; the worker goes on behind them. Empty on a first attempt. */
    resume_ids: z.array(z.int().min(0)),
    /** The same for the second answer to the prompt and those after it. */
    resume_choices: z.array(z.array(z.int().min(0))).optional(),
    /** Time the request has left, in ms; a duration, so that clocks need not agree. */
    remaining_ms: z.int().positive(),
    /** Earlier attempts ended with their workers: the worker takes such jobs up to their first token one at a time. */
    alone: z.boolean().optional(),
  }),
  /** The client is gone, the job is over, or a newer attempt runs: drop it. */
  z.object({ v: WireVersion, granted: z.literal(false), reason: z.enum(["gone", "superseded"]) }),
]);

export type Claim = z.infer<typeof Claim>;
export type ClaimReply = z.infer<typeof ClaimReply>;

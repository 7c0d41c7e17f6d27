/** Owns the claim: asking a job's edge whether this worker may run it, and for the tiles it lacks. */
import { type NatsConnection, NoRespondersError, RequestError } from "@nats-io/nats-core";
import { Claim, ClaimReply, claimSubject, decodeMessage, encodeMessage, type Job } from "@tessera/shared";

/** `absent`: nobody answers for that edge. `silent`: it did not answer in time, or the bus broke. */
export type ClaimOutcome =
  | Extract<ClaimReply, { granted: true }>
  | Extract<ClaimReply, { granted: false }>
  | { readonly granted: false; readonly reason: "absent" | "silent" };

export interface ClaimRequest {
  readonly job: Pick<Job, "v" | "id" | "edge_id">;
  readonly workerId: string;
  readonly attempt: number;
  readonly want: readonly string[];
  /** Whether the turn of a job that may end this worker has come. */
  readonly isTrial: boolean;
}

export async function requestClaim(
  nc: NatsConnection,
  { job, workerId, attempt, want, isTrial }: ClaimRequest,
  timeoutMs: number,
): Promise<ClaimOutcome> {
  const claim: Claim = { v: job.v, job_id: job.id, worker_id: workerId, attempt, want: [...want], trial: isTrial };
  const bytes = encodeMessage(claim, nc.info?.max_payload ?? 1_048_576);
  try {
    const reply = await nc.request(claimSubject(job.edge_id, job.id), bytes, { timeout: timeoutMs });
    return decodeMessage(ClaimReply, reply.data);
  } catch (error) {
    return { granted: false, reason: hasNoResponders(error) ? "absent" : "silent" };
  }
}

/** Whether a request failed because nobody listens on its subject. */
export function hasNoResponders(error: unknown): boolean {
  return error instanceof NoRespondersError ||
    (error instanceof RequestError && (error.isNoResponders() || error.cause instanceof NoRespondersError));
}

/** Decides on a durable job by its state: run, leave or park it. Pure; no bus. */
import { isFinal, type JobRecord, MAX_LOST_ATTEMPTS, numIdsOf } from "@tessera/shared";

export interface RecordClaim {
  readonly attempt: number;
  readonly workerId: string;
  readonly isTrial: boolean;
  /** Unix time in ms. */
  readonly nowMs: number;
}

/** What becomes of the claim; `record` is to be written before it counts. */
export type RecordVerdict =
  | { readonly kind: "run"; readonly record: JobRecord; readonly isAlone: boolean }
  /** The job is over by this claim; it is told and dropped. */
  | { readonly kind: "over"; readonly record: JobRecord }
  /** It was over before. */
  | { readonly kind: "gone" }
  /** A newer attempt has it. */
  | { readonly kind: "superseded" };

export function claimRecord(record: JobRecord, claim: RecordClaim): RecordVerdict {
  const { attempt, workerId, isTrial, nowMs } = claim;
  if (isFinal(record.status)) return { kind: "gone" };
  const earlier = record.attempt;
  const isAgain = earlier?.number === attempt && earlier.worker_id === workerId;
  if (earlier !== null && !isAgain && attempt <= earlier.number) return { kind: "superseded" };
  if (nowMs >= record.expires_ms) return over(record, "expired", nowMs);

  const lost = isAgain ? record.lost_worker_ids : lostWorkers(record);
  if (lost.length >= MAX_LOST_ATTEMPTS) return over({ ...record, lost_worker_ids: lost }, "failed", nowMs);
  const isAlone = lost.length > 0;
  return {
    kind: "run",
    isAlone,
    record: {
      ...record,
      status: "processing",
      started_ms: record.started_ms ?? nowMs,
      lost_worker_ids: lost,
      attempt: {
        number: attempt,
        worker_id: workerId,
        num_ids: isAgain ? earlier.num_ids : numIdsOf(record),
        has_begun: !isAlone || isTrial || (isAgain && earlier.has_begun),
        handed_over: false,
      },
    },
  };
}

/** Workers lost in a row without a new id, now that the attempt of the record is lost too. */
function lostWorkers(record: JobRecord): string[] {
  const { attempt, lost_worker_ids } = record;
  if (attempt === null || numIdsOf(record) > attempt.num_ids) return [];
  return attempt.has_begun && !attempt.handed_over ? [...lost_worker_ids, attempt.worker_id] : lost_worker_ids;
}

function over(record: JobRecord, status: "expired" | "failed", nowMs: number): RecordVerdict {
  const error = status === "failed"
    ? {
      code: "worker_crashed" as const,
      message: `The request ended every worker that took it, and is not tried again. Its id is ${record.id}.`,
      param: null,
    }
    : { code: "deadline_exceeded" as const, message: "The job was not done in time.", param: null };
  return { kind: "over", record: { ...record, status, error, completed_ms: nowMs } };
}

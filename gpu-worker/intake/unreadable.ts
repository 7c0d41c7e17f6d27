/** Owns what becomes of a job that this build cannot read: another worker's, or refused by name. Nobody waits in vain. */
import {
  type JobCore,
  type Logger,
  MAX_DELIVER,
  TesseraError,
  UNREADABLE_DELAY_MS,
  versionsText,
  WIRE_VERSIONS,
} from "@tessera/shared";
import { readJobCore } from "./admission.ts";
import type { JobChannel } from "./channel.ts";
import type { Delivery } from "./delivery.ts";

export interface Unreadable {
  readonly delivery: Delivery;
  readonly channel: Pick<JobChannel, "isLive" | "refuse">;
  readonly error: TesseraError;
}

/**
 * One of another version goes to workers of another build, as long as it may be handed out. Never rejects.
 * @param workerId of this worker
 */
export async function refuseUnreadable(
  { delivery, channel, error }: Unreadable,
  workerId: string,
  log: Logger,
): Promise<void> {
  const { attempt } = delivery;
  const core = readJobCore(delivery.data);
  log.warn("job_unreadable", { job_id: core?.id ?? null, attempt, version: core?.v ?? null, error });
  const isForOthers = error.code === "incompatible_version";
  if (isForOthers && !channel.isLive) return delivery.nak(UNREADABLE_DELAY_MS);
  if (isForOthers && attempt < MAX_DELIVER) return delivery.nak();
  try {
    if (core !== null) {
      await channel.refuse(core, core.attempt_base + attempt, isForOthers ? refusal(core, workerId) : error);
    }
    delivery.term();
  } catch (cause) {
    log.warn("job_not_refused", { job_id: core?.id ?? null, error: cause });
    delivery.nak(UNREADABLE_DELAY_MS);
  }
}

function refusal({ v }: JobCore, workerId: string): TesseraError {
  const message = `Worker ${workerId} cannot read the job: it is of version ${v}, expected ${
    versionsText(WIRE_VERSIONS)
  }.`;
  return new TesseraError("incompatible_version", { message });
}

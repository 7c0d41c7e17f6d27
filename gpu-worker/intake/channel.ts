/** What a worker needs of wherever a job comes from: leave to run it, its tiles, and someone who hears its events. */
import type { JobCore, TesseraError } from "@tessera/shared";
import type { EventWriter } from "../publish/event_writer.ts";
import type { ClaimOutcome } from "./claim.ts";
import type { LiveJob } from "./live_job.ts";

/** Hears the events of one attempt. `confirm` and `repeat` as in EventWriter. */
export type EventSink = Pick<
  EventWriter,
  "progress" | "prompt" | "handOver" | "tokens" | "choiceDone" | "done" | "error" | "confirm" | "repeat"
>;

export interface JobChannel {
  /** Whether clients wait for its jobs. */
  readonly isLive: boolean;
  /** May this worker run the job? Where it may, the missing tiles come. Never rejects. */
  claim(job: LiveJob, isTrial: boolean): Promise<ClaimOutcome>;
  /** @param numsSent ids of each answer that earlier attempts have sent */
  events(job: LiveJob, numsSent: readonly number[]): EventSink;
  /** Tells whoever waits for a job that its envelope cannot be read; it ends with that. Rejects when the bus breaks. */
  refuse(job: JobCore, attempt: number, error: TesseraError): Promise<void>;
  /** Whether the job may be acknowledged, now that its last event has been heard: not when another attempt has it. */
  mayAcknowledge(job: LiveJob): boolean;
}

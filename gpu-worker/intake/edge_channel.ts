/** Interactive jobs: the edge that holds the client grants them, sends their tiles and hears their events. */
import type { NatsConnection } from "@nats-io/nats-core";
import { encodeMessage, eventsSubject, type JobCore, type TesseraError } from "@tessera/shared";
import { EventOutbox } from "../publish/event_outbox.ts";
import { EventWriter } from "../publish/event_writer.ts";
import type { JobChannel } from "./channel.ts";
import { type ClaimOutcome, requestClaim } from "./claim.ts";
import type { LiveJob } from "./live_job.ts";

export class EdgeChannel implements JobChannel {
  readonly isLive = true;
  readonly #nc: NatsConnection;
  readonly #workerId: string;
  readonly #claimMs: number;
  readonly #outbox: EventOutbox;

  constructor(nc: NatsConnection, workerId: string, claimMs: number) {
    this.#nc = nc;
    this.#workerId = workerId;
    this.#claimMs = claimMs;
    this.#outbox = new EventOutbox(nc);
  }

  claim(job: LiveJob, isTrial: boolean): Promise<ClaimOutcome> {
    const { attempt } = job;
    const request = { job: job.job, workerId: this.#workerId, attempt, want: [...job.missing], isTrial };
    return requestClaim(this.#nc, request, this.#claimMs);
  }

  events(job: LiveJob, numsSent: readonly number[]): EventWriter {
    const { attempt } = job;
    return new EventWriter({ nc: this.#nc, outbox: this.#outbox, job: job.job, attempt, firstSeqs: numsSent });
  }

  refuse({ v, id, edge_id }: JobCore, attempt: number, { code, message }: TesseraError): Promise<void> {
    // In a version that this worker may not speak: a refusal is the same in all of them.
    const refusal = { v, attempt, type: "error", code, message, param: null };
    this.#nc.publish(eventsSubject(edge_id, id), encodeMessage(refusal, this.#nc.info?.max_payload ?? 1_048_576));
    return this.#nc.flush();
  }

  mayAcknowledge(): boolean {
    return true;
  }
}

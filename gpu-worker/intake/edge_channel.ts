/** Interactive jobs: the edge that holds the client grants them, sends their tiles and hears their events. */
import type { NatsConnection } from "@nats-io/nats-core";
import { EventWriter } from "../publish/event_writer.ts";
import type { JobChannel } from "./channel.ts";
import { type ClaimOutcome, requestClaim } from "./claim.ts";
import type { LiveJob } from "./live_job.ts";

export class EdgeChannel implements JobChannel {
  readonly isLive = true;
  readonly #nc: NatsConnection;
  readonly #workerId: string;
  readonly #claimMs: number;

  constructor(nc: NatsConnection, workerId: string, claimMs: number) {
    this.#nc = nc;
    this.#workerId = workerId;
    this.#claimMs = claimMs;
  }

  claim(job: LiveJob, isTrial: boolean): Promise<ClaimOutcome> {
    const { attempt } = job;
    const request = { job: job.job, workerId: this.#workerId, attempt, want: [...job.missing], isTrial };
    return requestClaim(this.#nc, request, this.#claimMs);
  }

  events(job: LiveJob, numsSent: readonly number[]): EventWriter {
    return new EventWriter(this.#nc, job.job.edge_id, job.id, job.attempt, numsSent);
  }

  mayAcknowledge(): boolean {
    return true;
  }
}

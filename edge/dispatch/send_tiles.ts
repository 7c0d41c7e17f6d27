/** Sends the tiles workers asked for: in their order, one a message, jobs taking turns, never far ahead of the server. */
import { headers, type NatsConnection } from "@nats-io/nats-core";
import {
  checkPayload,
  type Claim,
  MAX_TILES_AHEAD,
  MAX_TILES_AHEAD_OF_JOB,
  tileHeaders,
  tilesSubject,
} from "@tessera/shared";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { RunningJob } from "./running_job.ts";

export class TileSender {
  #numAhead = 0;
  /** Jobs waiting for a place, oldest first; as many as there are jobs at most. */
  readonly #waiting: (() => void)[] = [];

  /**
   * Resolves when all are sent, or early when the job is over or another attempt has taken it.
   * @throws Error when the connection breaks
   */
  async send(nc: NatsConnection, job: RunningJob, claim: Claim, maxPayload: number): Promise<void> {
    /** One for each tile on its way, oldest first. */
    const confirmations: Promise<void>[] = [];
    for (const hash of claim.want) {
      if (confirmations.length === MAX_TILES_AHEAD_OF_JOB) await confirmations.shift();
      await this.#takePlace();
      let confirmed: Promise<void>;
      try {
        if (!sendTile(nc, job, claim, hash, maxPayload)) return this.#leavePlace();
        confirmed = nc.flush();
      } catch (error) {
        this.#leavePlace();
        throw error;
      }
      confirmations.push(confirmed.finally(() => this.#leavePlace()));
      confirmations.at(-1)!.catch(() => {});
      // The first goes before all others, and tokens of other jobs in between: a tile is copied on its way out.
      await (hash === claim.want[0] ? confirmed : nextTurn());
    }
    await Promise.all(confirmations);
  }

  #takePlace(): Promise<void> {
    if (this.#numAhead < MAX_TILES_AHEAD) {
      this.#numAhead++;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Hands the place to the next in line. */
  #leavePlace(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#numAhead--;
    else next();
  }
}

/** False when nobody waits for the tile any more. */
function sendTile(nc: NatsConnection, job: RunningJob, claim: Claim, hash: string, maxPayload: number): boolean {
  const tile = job.tile(hash);
  if (tile === undefined || job.attempt !== claim.attempt) return false;
  checkPayload(tile.pixels.length, maxPayload);
  const described = headers();
  for (const [name, value] of tileHeaders(tile)) described.set(name, value);
  nc.publish(tilesSubject(claim.worker_id, claim.job_id), tile.pixels, { headers: described });
  return true;
}

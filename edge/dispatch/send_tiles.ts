/** Sends the tiles workers asked for: in their order, one a message, jobs taking turns, never far ahead of the server. */
import { headers, type NatsConnection } from "@nats-io/nats-core";
import { checkPayload, type Claim, tileHeaders, tilesSubject } from "@tessera/shared";
import type { RunningJob } from "./running_job.ts";

/** Tiles a job may write in its turn; at its end the server has confirmed them. */
const TILES_PER_TURN = 4;
/** Jobs that may have a turn at the same time. Turns times tiles is what waits in the socket's buffer at most. */
const MAX_TURNS = 4;

export class TileSender {
  #numTurns = 0;
  /** Jobs waiting for a turn, oldest first; as many as there are jobs at most. */
  readonly #waiting: (() => void)[] = [];

  /** Resolves when all are sent, or early when the job is over or another attempt has taken it. */
  async send(nc: NatsConnection, job: RunningJob, claim: Claim, maxPayload: number): Promise<void> {
    for (let at = 0; at < claim.want.length; at += TILES_PER_TURN) {
      await this.#takeTurn();
      try {
        for (const hash of claim.want.slice(at, at + TILES_PER_TURN)) {
          if (!sendTile(nc, job, claim, hash, maxPayload)) return;
        }
        await nc.flush();
      } finally {
        this.#endTurn();
      }
    }
  }

  #takeTurn(): Promise<void> {
    if (this.#numTurns < MAX_TURNS) {
      this.#numTurns++;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Hands the turn to the next in line. */
  #endTurn(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#numTurns--;
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

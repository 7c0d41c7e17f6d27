/** Sends the tiles a worker asked for: in its order, one a message, never many ahead of the server. */
import { headers, type NatsConnection } from "@nats-io/nats-core";
import { checkPayload, type Claim, tileHeaders, tilesSubject } from "@tessera/shared";
import type { RunningJob } from "./running_job.ts";

/** Tiles written to the socket before the server has to confirm; bounds what waits in memory. */
const TILES_PER_FLUSH = 4;

/** Resolves when all are sent, or early when the job is over or another attempt has taken it. */
export async function sendTiles(nc: NatsConnection, job: RunningJob, claim: Claim, maxPayload: number): Promise<void> {
  const subject = tilesSubject(claim.worker_id, claim.job_id);
  let numUnconfirmed = 0;
  for (const hash of claim.want) {
    if (job.hasEnded || job.attempt !== claim.attempt) return;
    const tile = job.tile(hash);
    if (tile === undefined) return;
    checkPayload(tile.pixels.length, maxPayload);
    const described = headers();
    for (const [name, value] of tileHeaders(tile)) described.set(name, value);
    nc.publish(subject, tile.pixels, { headers: described });
    if (++numUnconfirmed < TILES_PER_FLUSH) continue;
    await nc.flush();
    numUnconfirmed = 0;
  }
}

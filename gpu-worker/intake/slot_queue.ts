/** Owns the jobs for which no tile slots are free yet: by priority, then in order of delivery. */
import type { TileSlots } from "../schedule/tile_slots.ts";
import type { LiveJob } from "./live_job.ts";

export class SlotQueue {
  readonly #tiles: TileSlots;
  readonly #waiting: LiveJob[] = [];

  constructor(tiles: TileSlots) {
    this.#tiles = tiles;
  }

  /** A job whose prompt is there. */
  add(job: LiveJob): void {
    const place = this.#waiting.findIndex((other) => other.job.priority > job.job.priority);
    this.#waiting.splice(place === -1 ? this.#waiting.length : place, 0, job);
  }

  /** A job has ended. Idempotent; most no longer wait. */
  leave(job: LiveJob): void {
    const place = this.#waiting.indexOf(job);
    if (place !== -1) this.#waiting.splice(place, 1);
  }

  /** The first job, its slots reserved and its missing tiles noted; null when they are not free, or nobody waits. */
  takeFirst(): LiveJob | null {
    const [job] = this.#waiting;
    const want = job === undefined ? null : this.#tiles.reserve(job.tiles);
    if (job === undefined || want === null) return null;
    this.#waiting.shift();
    job.holdsTiles = true;
    for (const hash of want) job.missing.add(hash);
    return job;
  }
}

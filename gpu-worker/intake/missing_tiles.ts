/** Owns the tiles that jobs wait for: taken as they come, for whoever waits for them; none for long is an end. */
import type { NatsConnection } from "@nats-io/nats-core";
import { TesseraError, toTesseraError } from "@tessera/shared";
import type { TileSlots } from "../schedule/tile_slots.ts";
import type { LiveJob } from "./live_job.ts";
import { TileReceiver } from "./tile_receiver.ts";

export interface MissingTilesOptions {
  readonly nc: NatsConnection;
  readonly workerId: string;
  /** Edge of a tile in pixels. */
  readonly tileSize: number;
  readonly slots: TileSlots;
  /** Longest wait for the next tile of a job. */
  readonly waitMs: number;
  readonly jobs: () => Iterable<LiveJob>;
  /** Told of a job that can have no more of its tiles, and why. */
  readonly onFail: (jobId: string, error: TesseraError) => void;
  /** A tile came. */
  readonly onChange: () => void;
}

export class MissingTiles {
  readonly #options: MissingTilesOptions;
  readonly #receiver: TileReceiver;

  constructor(options: MissingTilesOptions) {
    this.#options = options;
    const { nc, workerId, tileSize } = options;
    this.#receiver = new TileReceiver({
      nc,
      workerId,
      tileSize,
      onTile: (jobId, hash, pixels) => this.take(jobId, hash, pixels),
      onBadTile: (jobId, error) => options.onFail(jobId, toTesseraError(error)),
    });
  }

  /** A job was granted: from now on its tiles come. */
  expect(job: LiveJob): void {
    // Who lacks none has waited for none.
    if (job.missing.size === 0) job.at.tilesHere = job.at.claimed ?? performance.now();
    this.#waitFor(job);
  }

  /** A tile came, checked. */
  take(jobId: string, hash: string, pixels: Uint8Array): void {
    this.#options.slots.receive(hash, pixels);
    // Another job may have been waiting for the same tile.
    for (const job of this.#options.jobs()) {
      if (!job.missing.delete(hash) && job.id !== jobId) continue;
      this.#waitFor(job);
      if (job.missing.size === 0) job.at.tilesHere ??= performance.now();
    }
    this.#options.onChange();
  }

  stop(): void {
    this.#receiver.stop();
  }

  #waitFor(job: LiveJob): void {
    job.startTileTimer(this.#options.waitMs, () => this.#areLate(job));
  }

  #areLate(job: LiveJob): void {
    const diagnostic = `${job.missing.size} of ${job.tiles.length} tiles did not come in ${this.#options.waitMs} ms`;
    this.#options.onFail(job.id, new TesseraError("internal_error", { diagnostic }));
  }
}

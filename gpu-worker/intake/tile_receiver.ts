/** Owns tiles on the wire: one subscription for all jobs, each tile checked against its name before it counts. */
import type { Msg, NatsConnection, Subscription } from "@nats-io/nats-core";
import { jobIdOf, parseTile, sha256Hex, workerTiles } from "@tessera/shared";

export interface TileReceiverOptions {
  readonly nc: NatsConnection;
  readonly workerId: string;
  /** Edge of a tile in pixels. */
  readonly tileSize: number;
  readonly onTile: (jobId: string, hash: string, pixels: Uint8Array) => void;
  /** A message that is not the tile it says it is. */
  readonly onBadTile: (jobId: string, error: unknown) => void;
}

export class TileReceiver {
  readonly #options: TileReceiverOptions;
  readonly #subscription: Subscription;

  constructor(options: TileReceiverOptions) {
    this.#options = options;
    this.#subscription = options.nc.subscribe(workerTiles(options.workerId), {
      callback: (error, msg) => {
        if (error === null) void this.#receive(msg);
      },
    });
  }

  stop(): void {
    this.#subscription.unsubscribe();
  }

  async #receive(msg: Msg): Promise<void> {
    const jobId = jobIdOf(msg.subject);
    try {
      const { hash } = parseTile((name) => msg.headers?.get(name), msg.data, this.#options.tileSize);
      const actual = await sha256Hex(msg.data);
      if (actual !== hash) throw new Error(`Cannot take tile: its pixels hash to ${actual}, expected ${hash}`);
      this.#options.onTile(jobId, hash, msg.data);
    } catch (error) {
      this.#options.onBadTile(jobId, error);
    }
  }
}

/** Owns tiles on the wire: one subscription for all jobs, each tile checked against its name before it counts. */
import type { Msg, NatsConnection, Subscription } from "@nats-io/nats-core";
import { jobIdOf, parseTile, sha256Hex, workerTiles } from "@tessera/shared";
import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";

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
  /** Whether a tile is about to be hashed here. */
  #isHashing = false;

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
      const actual = await this.#hash(msg.data);
      if (actual !== hash) throw new Error(`Cannot take tile: its pixels hash to ${actual}, expected ${hash}`);
      this.#options.onTile(jobId, hash, msg.data);
    } catch (error) {
      this.#options.onBadTile(jobId, error);
    }
  }

  /**
   * Here, since that takes less time than to give the pixels to another thread of a busy machine; but one at a time and
   * in a turn of the event loop of its own, since 0.4 ms each would add up for those who wait for tokens.
   */
  async #hash(pixels: Uint8Array): Promise<string> {
    if (this.#isHashing) return await sha256Hex(pixels);
    this.#isHashing = true;
    await nextTurn();
    this.#isHashing = false;
    return createHash("sha256").update(pixels).digest("hex");
  }
}

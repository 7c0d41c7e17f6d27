/** Owns tiles on their way through the engine: one call at a time, between the steps that are in flight and the next. */
import { TILES_PER_CALL } from "@tessera/shared";
import type { Engine } from "./engine/types.ts";
import type { TileBatch, TileSlots } from "./schedule/tile_slots.ts";

/** How a call ended. */
export interface Encoded {
  readonly batch: TileBatch;
  readonly startedAt: number;
  readonly elapsedMs: number;
  /** Why it failed, and the tiles that are given up with it; the others come again. */
  readonly failure?: { readonly cause: unknown; readonly lost: ReadonlySet<string> };
}

export interface TileEncoderOptions {
  readonly engine: Engine;
  readonly tiles: TileSlots;
  /** The engine is busy from here on. */
  readonly onBegin: () => void;
  /** What this throws `encodeSome` rejects with, now or when it is called next. */
  readonly onEnd: (encoded: Encoded) => void;
}

export class TileEncoder {
  readonly #options: TileEncoderOptions;
  /** Ends when steps may be given that read the tiles. */
  #running: Promise<void> | null = null;

  constructor(options: TileEncoderOptions) {
    this.#options = options;
  }

  /**
   * Gives the engine some of the tiles that are here. Waits until it has them, so that the next step can be theirs already,
   * or until `step`, the first in flight, has ended.
   * @param hasRoom whether a call may be made now
   * @param isBusy whether sequences are waiting for their next tokens
   * @returns whether any were on their way
   */
  async encodeSome(hasRoom: boolean, isBusy: boolean, step?: Promise<unknown>): Promise<boolean> {
    const { engine, tiles, onBegin } = this.#options;
    if (this.#running === null && hasRoom) {
      const limits = TILES_PER_CALL[engine.info.device];
      const batch = tiles.takeForEncoding(isBusy ? limits.busy : limits.idle);
      if (batch !== null) {
        const running = this.#encode(batch).then(() => void (this.#running = null));
        running.catch(() => {}); // looked at in the next call, if not in this one
        this.#running = running;
        onBegin();
      }
    }
    if (this.#running === null) return false;
    await (step === undefined ? this.#running : Promise.race([this.#running, step.catch(() => {})]));
    return true;
  }

  /** Until nothing is on its way, however it ends. */
  async settled(): Promise<void> {
    await this.#running?.catch(() => {});
  }

  async #encode(batch: TileBatch): Promise<void> {
    const { engine, tiles, onEnd } = this.#options;
    const startedAt = performance.now();
    const end = () => ({ batch, startedAt, elapsedMs: performance.now() - startedAt });
    try {
      await engine.encodeTiles(batch.pixels, batch.slots);
    } catch (cause) {
      return onEnd({ ...end(), failure: { cause, lost: new Set(tiles.encodeFailed(batch)) } });
    }
    tiles.encoded(batch);
    onEnd(end());
  }
}

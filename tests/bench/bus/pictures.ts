/** Pictures whose every tile is new, made without the pixels' work: noise with a number on it. */
import { sha256Hex } from "@tessera/shared";
import type { TiledImage, TileOptions } from "../../../edge/tile/mod.ts";
import { fakePicture, FakeTilePool } from "../../edge/fake_tile_pool.ts";

export const TILE_SIZE = 448;
export const TILE_BYTES = TILE_SIZE * TILE_SIZE * 3;
/** Four columns, three rows, and the thumbnail. */
export const NUM_TILES = 13;
/** Most bytes the platform makes at random at a time. */
const RANDOM_BYTES = 65_536;

/** A picture of that many tiles. */
export function newPicture(): string {
  return fakePicture(4, 3);
}

/** Pixels of one tile, as those of a photograph no repetition. */
export function noise(): Uint8Array<ArrayBuffer> {
  const pixels = new Uint8Array(TILE_BYTES);
  for (let at = 0; at < pixels.length; at += RANDOM_BYTES) {
    crypto.getRandomValues(pixels.subarray(at, at + RANDOM_BYTES));
  }
  return pixels;
}

export class UnseenPictures extends FakeTilePool {
  readonly #noise = noise();
  #numMade = 0;

  override async tileImage(bytes: Uint8Array, options: TileOptions): Promise<TiledImage> {
    const inspection = await this.inspectImage(bytes, options);
    const tiles = Array.from({ length: inspection.tileCount }, () => {
      const tile = this.#noise.slice();
      new DataView(tile.buffer).setUint32(0, ++this.#numMade);
      return tile;
    });
    const hashes = await Promise.all(tiles.map(sha256Hex));
    const timings = { decodeMs: 0, resizeMs: 0, cutMs: 0, hashMs: 0, queueMs: 0 };
    return { ...inspection, peakBytes: 1, tiles, hashes, timings };
  }
}

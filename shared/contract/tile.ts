/** A tile on the wire: raw pixels as the payload, what they are in headers. Edge to worker, one a message. */
import { TesseraError } from "../errors.ts";

/** Header names. */
export const TILE_HASH_HEADER = "Tessera-Tile-Hash";
export const TILE_SHAPE_HEADER = "Tessera-Tile-Shape";
export const TILE_DTYPE_HEADER = "Tessera-Tile-Dtype";

/** What a tile message says of itself. */
export interface TileHeader {
  readonly hash: string;
  /** Edge in pixels; the payload is [size, size, 3]. */
  readonly size: number;
}

/** Headers of a tile message. */
export function tileHeaders(tile: TileHeader): [name: string, value: string][] {
  return [
    [TILE_HASH_HEADER, tile.hash],
    [TILE_SHAPE_HEADER, `${tile.size},${tile.size},3`],
    [TILE_DTYPE_HEADER, "u8"],
  ];
}

/**
 * Reads and checks a tile message.
 * @throws TesseraError `internal_error` when headers and payload do not fit each other or the model's tile size
 */
export function parseTile(
  get: (name: string) => string | undefined,
  payload: Uint8Array,
  expectedSize: number,
): TileHeader {
  const hash = get(TILE_HASH_HEADER) ?? "";
  const shape = get(TILE_SHAPE_HEADER) ?? "";
  const dtype = get(TILE_DTYPE_HEADER) ?? "";
  const expectedShape = `${expectedSize},${expectedSize},3`;
  const expectedBytes = expectedSize * expectedSize * 3;
  if (!/^[0-9a-f]{64}$/.test(hash) || shape !== expectedShape || dtype !== "u8" || payload.length !== expectedBytes) {
    throw new TesseraError("internal_error", {
      diagnostic:
        `Cannot read tile: hash "${hash}", shape "${shape}", dtype "${dtype}", ${payload.length} bytes, expected ${expectedShape} u8`,
    });
  }
  return { hash, size: expectedSize };
}

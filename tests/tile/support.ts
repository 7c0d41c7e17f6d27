// Owns what the tiler's tests share: the goldens, a file of them, one loaded instance.
import type { TileOptions } from "../../edge/tile/mod.ts";
import { checkPoolOptions, checkTileOptions } from "../../edge/tile/options.ts";
import { loadTilerModule, Tiler } from "../../edge/tile/tiler.ts";

const FOLDER = new URL("../golden/tiler/", import.meta.url);

export interface GoldenCase {
  readonly file: string;
  readonly options: TileOptions;
  readonly sourceWidth: number;
  readonly sourceHeight: number;
  readonly cols: number;
  readonly rows: number;
  readonly tiles: number;
  readonly hash: string;
}

export interface GoldenGrid {
  readonly tileSize: number;
  readonly minTiles: number;
  readonly maxTiles: number;
  readonly count: number;
  readonly hash: string;
}

export interface Goldens {
  readonly cases: readonly GoldenCase[];
  readonly grids: readonly GoldenGrid[];
}

export const goldens: Goldens = JSON.parse(Deno.readTextFileSync(new URL("goldens.json", FOLDER)));

export function picture(file: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(new URL(`pictures/${file}`, FOLDER));
}

export function pictureNames(): string[] {
  return Array.from(Deno.readDirSync(new URL("pictures/", FOLDER)), (entry) => entry.name).sort();
}

export const module = await loadTilerModule();
export const limits = checkPoolOptions({}).limits;

/** InternVL3's own setting. */
export const INTERNVL3: TileOptions = { tileSize: 448, minTiles: 1, maxTiles: 12, thumbnail: true };
/** The same shape on a small scale, for speed. */
export const SMALL: TileOptions = { tileSize: 14, minTiles: 1, maxTiles: 6, thumbnail: true };

export function newTiler(): Tiler {
  return new Tiler(module);
}

export const checked = checkTileOptions;

export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** A BMP header that promises a picture of this size; there are no pixels. */
export function bmpHeader(width: number, height: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(54);
  const view = new DataView(bytes.buffer);
  bytes.set([0x42, 0x4d]);
  view.setUint32(10, 54, true);
  view.setUint32(14, 40, true);
  view.setInt32(18, width, true);
  view.setInt32(22, height, true);
  view.setUint16(26, 1, true);
  view.setUint16(28, 24, true);
  return bytes;
}

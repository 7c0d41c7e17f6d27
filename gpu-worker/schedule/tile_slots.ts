/** Owns the tile slots: which tile's embeddings are where, who needs them, what is still to be received and encoded. */
import { MAX_PENDING_TILES } from "@tessera/shared";

type TileState =
  /** Asked for, pixels not here. */
  | "wanted"
  /** Pixels here, waiting for the vision tower. */
  | "received"
  /** In an encodeTiles call. */
  | "encoding"
  /** Embeddings are in the slot. */
  | "ready";

interface Tile {
  readonly hash: string;
  readonly slot: number;
  state: TileState;
  /** Jobs that need it. At 0 a ready tile stays until its slot is needed; any other is dropped. */
  numHolders: number;
  pixels: Uint8Array | null;
  /** Encoded by itself, because a call with others failed. */
  isSuspect: boolean;
}

/** One encodeTiles call. */
export interface TileBatch {
  readonly hashes: readonly string[];
  readonly pixels: Uint8Array;
  readonly slots: Int32Array;
}

export class TileSlots {
  readonly #numSlots: number;
  readonly #freeSlots: number[] = [];
  /** Least recently needed first. */
  readonly #tiles = new Map<string, Tile>();
  readonly #received: Tile[] = [];

  constructor(numSlots: number) {
    this.#numSlots = numSlots;
    for (let slot = numSlots - 1; slot >= 0; slot--) this.#freeSlots.push(slot);
  }

  get numSlots(): number {
    return this.#numSlots;
  }

  get #numPending(): number {
    let count = 0;
    for (const tile of this.#tiles.values()) if (tile.state !== "ready") count += 1;
    return count;
  }

  /**
   * Holds a slot for each tile, all or none. To be paired with `release` of the same tiles.
   * @param hashes no duplicates
   * @returns the tiles whose pixels are needed, or null when too few slots can be had now; `numSlots` at once always can
   *   when nobody else holds any
   */
  reserve(hashes: readonly string[]): string[] | null {
    let numNew = 0;
    let numOwnIdle = 0;
    for (const hash of hashes) {
      const tile = this.#tiles.get(hash);
      if (tile === undefined) numNew += 1;
      else if (isIdle(tile)) numOwnIdle += 1;
    }
    let numIdle = 0;
    for (const tile of this.#tiles.values()) if (isIdle(tile)) numIdle += 1;
    if (numNew > this.#freeSlots.length + numIdle - numOwnIdle) return null;
    const numPending = this.#numPending;
    if (numNew > 0 && numPending > 0 && numPending + numNew > MAX_PENDING_TILES) return null;

    const known = hashes.map((hash) => this.#tiles.get(hash));
    for (const tile of known) if (tile !== undefined) this.#hold(tile);
    hashes.forEach((hash, i) => {
      if (known[i] === undefined) this.#hold(this.#create(hash));
    });
    return hashes.filter((hash) => this.#tiles.get(hash)!.state === "wanted");
  }

  /** Lets tiles go. Not while an engine call reads their slots. */
  release(hashes: readonly string[]): void {
    for (const hash of hashes) {
      const tile = this.#tiles.get(hash);
      if (tile === undefined || tile.numHolders === 0) throw new Error(`Cannot release tile ${hash}: nobody holds it`);
      tile.numHolders -= 1;
      if (tile.numHolders === 0 && (tile.state === "wanted" || tile.state === "received")) this.#drop(tile);
    }
  }

  /** Takes a tile's pixels; false when nobody is waiting for them. */
  receive(hash: string, pixels: Uint8Array): boolean {
    const tile = this.#tiles.get(hash);
    if (tile?.state !== "wanted") return false;
    tile.state = "received";
    tile.pixels = pixels;
    this.#received.push(tile);
    return true;
  }

  /** The next tiles to encode, first come first served. To be followed by `encoded` or `encodeFailed`. */
  takeForEncoding(maxTiles: number): TileBatch | null {
    if (this.#received.length === 0) return null;
    let count = this.#received.findIndex((tile) => tile.isSuspect);
    if (count === -1) count = this.#received.length;
    const tiles = this.#received.splice(0, Math.max(1, Math.min(count, maxTiles)));
    const tileBytes = tiles[0]!.pixels!.length;
    const pixels = new Uint8Array(tiles.length * tileBytes);
    tiles.forEach((tile, i) => {
      pixels.set(tile.pixels!, i * tileBytes);
      tile.state = "encoding";
    });
    return {
      hashes: tiles.map((tile) => tile.hash),
      pixels,
      slots: Int32Array.from(tiles, (tile) => tile.slot),
    };
  }

  /** The call succeeded. */
  encoded(batch: TileBatch): void {
    for (const hash of batch.hashes) {
      const tile = this.#tiles.get(hash)!;
      tile.state = "ready";
      tile.pixels = null;
    }
  }

  /**
   * The call failed. Tiles of a call with several are tried again, one by one.
   * @returns tiles given up, which whoever holds them must release
   */
  encodeFailed(batch: TileBatch): readonly string[] {
    const isLast = batch.hashes.length === 1;
    for (const hash of batch.hashes) {
      const tile = this.#tiles.get(hash)!;
      tile.state = isLast ? "wanted" : "received";
      if (isLast) tile.pixels = null;
      else {
        tile.isSuspect = true;
        this.#received.push(tile);
      }
      if (tile.numHolders === 0) this.#drop(tile);
    }
    return isLast ? batch.hashes : [];
  }

  isReady(hash: string): boolean {
    return this.#tiles.get(hash)?.state === "ready";
  }

  /** Slot of a tile that is held. */
  slotOf(hash: string): number {
    return this.#tiles.get(hash)!.slot;
  }

  /** Throws unless every slot is free or one tile's, and every tile has exactly the holders given. */
  checkIntegrity(holders: Iterable<readonly string[]>): void {
    const expected = new Map<string, number>();
    for (const hashes of holders) {
      for (const hash of hashes) expected.set(hash, (expected.get(hash) ?? 0) + 1);
    }
    const slots = new Set<number>(this.#freeSlots);
    for (const tile of this.#tiles.values()) {
      if (slots.has(tile.slot)) throw broken(tile, "shares its slot");
      slots.add(tile.slot);
      const wanted = expected.get(tile.hash) ?? 0;
      if (tile.numHolders !== wanted) throw broken(tile, `counts ${tile.numHolders} holders, expected ${wanted}`);
      if (wanted === 0 && tile.state !== "ready" && tile.state !== "encoding") {
        throw broken(tile, "is needed by nobody");
      }
      const hasPixels = tile.state === "received" || tile.state === "encoding";
      if (hasPixels !== (tile.pixels !== null)) throw broken(tile, `has pixels where it should not, or none`);
      if ((tile.state === "received") !== this.#received.includes(tile)) throw broken(tile, "is queued wrongly");
    }
    if (slots.size !== this.#numSlots) throw new Error(`${slots.size} slots are known, expected ${this.#numSlots}`);
    for (const hash of expected.keys()) {
      if (!this.#tiles.has(hash)) throw new Error(`Tile ${hash} is held but not known`);
    }
  }

  #hold(tile: Tile): void {
    tile.numHolders += 1;
    this.#tiles.delete(tile.hash);
    this.#tiles.set(tile.hash, tile);
  }

  #create(hash: string): Tile {
    if (this.#freeSlots.length === 0) {
      for (const tile of this.#tiles.values()) {
        if (!isIdle(tile)) continue;
        this.#drop(tile);
        break;
      }
    }
    const slot = this.#freeSlots.pop()!;
    return { hash, slot, state: "wanted", numHolders: 0, pixels: null, isSuspect: false };
  }

  #drop(tile: Tile): void {
    this.#tiles.delete(tile.hash);
    this.#freeSlots.push(tile.slot);
    const queued = this.#received.indexOf(tile);
    if (queued !== -1) this.#received.splice(queued, 1);
  }
}

/** In its slot and needed by nobody: may be replaced. */
function isIdle(tile: Tile): boolean {
  return tile.state === "ready" && tile.numHolders === 0;
}

function broken(tile: Tile, what: string): Error {
  return new Error(`Tile ${tile.hash} in slot ${tile.slot} (${tile.state}) ${what}`);
}

// Owns the types of the tiler's contract: what goes in, what comes out, what a pool may be told.

/** The formats that are decoded. The type comes from the bytes, never from a label. */
export type ImageFormat = "jpeg" | "png" | "webp" | "gif" | "bmp";

/** How a picture is cut. All numbers come from the model's announcement. */
export interface TileOptions {
  /** Edge of a tile in pixels, 1..1024. */
  readonly tileSize: number;
  /** Fewest tiles of a grid, 1..maxTiles. */
  readonly minTiles: number;
  /** Most tiles of a grid, minTiles..64; the thumbnail is not counted. */
  readonly maxTiles: number;
  /** Add the whole picture as one more tile, when the grid has more than one. */
  readonly thumbnail: boolean;
  /**
   * `true`: the pixels of Pillow's `Image.open(f).convert("RGB")`: Exif orientation ignored, alpha dropped.
   * `false` (default): the picture upright as its Exif orientation says, transparency laid over white.
   */
  readonly exact?: boolean;
}

/** What the header alone says, and the grid that follows from it. */
export interface ImageInspection {
  readonly format: ImageFormat;
  /** Size of the picture as it will be tiled: after Exif orientation unless `exact`. */
  readonly sourceWidth: number;
  readonly sourceHeight: number;
  /** Exif orientation 1..8 as the file says, whether it is applied or not. */
  readonly orientation: number;
  readonly cols: number;
  readonly rows: number;
  /** Size the picture is resized to: cols * tileSize by rows * tileSize. */
  readonly width: number;
  readonly height: number;
  /** Number of tiles that will come out, the thumbnail included. */
  readonly tileCount: number;
  /** WASM memory that tiling it takes at most. */
  readonly needBytes: number;
}

export interface TileTimings {
  readonly decodeMs: number;
  readonly resizeMs: number;
  readonly cutMs: number;
  readonly hashMs: number;
  /** Time between the call and the start of the work, spent in the queue. */
  readonly queueMs: number;
}

export interface TiledImage extends ImageInspection {
  /** Most bytes of the WASM memory that were in use at once. */
  readonly peakBytes: number;
  /** RGB bytes, row-major, tileSize * tileSize * 3 each, each in a buffer of its own; row by row, the thumbnail last. */
  readonly tiles: Uint8Array<ArrayBuffer>[];
  /** SHA-256 of each tile in lower-case hex, same order, computed off the event loop. */
  readonly hashes: string[];
  readonly timings: TileTimings;
}

export interface ImageLimits {
  /** Most pixels of a source picture; checked on the header, before anything is allocated. Default 50 million. */
  readonly maxPixels?: number;
  /** Longest side of a source picture. Default 16384. */
  readonly maxSide?: number;
}

export interface TilePoolOptions extends ImageLimits {
  /** Number of workers. Default: the number of cores, 4 at most. */
  readonly workers?: number;
  /** Pictures that may wait for a worker; one more is refused with reason `busy`. Default 16 per worker. */
  readonly maxQueue?: number;
  /** Bytes of files that may wait; a picture that would exceed it is refused with reason `busy`. Default 128 MiB. */
  readonly maxQueuedBytes?: number;
  /** Time limit of one picture from the start of its decoding, in ms. Default 10,000. */
  readonly timeoutMs?: number;
  /** How long an aborted picture may hold its worker, in ms; then the worker is replaced. Default 200. */
  readonly abortGraceMs?: number;
  /** A worker whose WASM memory grew past this is started anew after that picture. Default 128 MiB. */
  readonly maxIdleBytes?: number;
  /**
   * WASM memory of all workers together, reserved by the headers before anything is decoded: pictures wait until it
   * is free. A picture that needs more alone is refused with reason `too_much_memory`. Default 768 MiB.
   */
  readonly maxMemoryBytes?: number;
}

export interface TilePoolStats {
  readonly workers: number;
  /** Pictures being worked on. */
  readonly running: number;
  /** Pictures waiting for a worker. */
  readonly queued: number;
  /** Workers that were thrown away and replaced since the start (time limit, abort, trap, crash). */
  readonly replaced: number;
  /** WASM memory that running pictures have reserved and idle workers hold, beyond that of fresh workers. */
  readonly memoryBytes: number;
}

export interface TilePool {
  /** Resolves when every first worker is warm; rejects when the workers cannot start. `tileImage` may be called before. */
  readonly ready: Promise<void>;
  readonly stats: TilePoolStats;
  /**
   * Decodes, resizes and cuts one picture in a worker, as soon as one is free and the picture's memory is. An abort
   * ends the wait at once and frees place and memory within `abortGraceMs`. Who has the picture's inspection (of the
   * same options) gives it along, so that the header is read once.
   * Takes ownership of `bytes`: a view over a whole ArrayBuffer is transferred (the caller's view becomes empty);
   * a view of a part is copied. Rejects with `TileError`, or `RangeError` for options out of range.
   */
  tileImage(
    bytes: Uint8Array,
    options: TileOptions,
    signal?: AbortSignal,
    inspection?: ImageInspection,
  ): Promise<TiledImage>;
  /**
   * Reads the header only, on the calling thread; leaves `bytes` alone. Same errors and the same limits. `bytes` may be
   * the beginning of a file of `fileLength` bytes: where it does not tell enough, the reason is `truncated`.
   */
  inspectImage(bytes: Uint8Array, options: TileOptions, fileLength?: number): Promise<ImageInspection>;
  /** Ends every worker; what waits or runs fails with reason `closed`. Idempotent. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

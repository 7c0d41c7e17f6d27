// Owns the tiler's closed list of failures: reason for machines, class for the caller's reaction, public text for people.

/** What the caller should do: 4xx for `input`, 503 and retry later for `overload`, nothing for `cancelled`, 500 for `internal`. */
export type TileErrorClass = "input" | "overload" | "cancelled" | "internal";

interface TileReasonInfo {
  readonly class: TileErrorClass;
  readonly publicMessage: string;
}

/** Every reason a picture may fail for. Metrics and clients see the key; nothing else of the inside may leave. */
export const TILE_REASONS = {
  empty: { class: "input", publicMessage: "Cannot read the image: it has no bytes." },
  unsupported_format: {
    class: "input",
    publicMessage: "Cannot read the image: its bytes are not a JPEG, PNG, WebP, GIF or BMP image this server decodes.",
  },
  truncated: { class: "input", publicMessage: "Cannot read the image: the file ends before the picture does." },
  corrupt: { class: "input", publicMessage: "Cannot read the image: its contents are damaged." },
  too_many_pixels: {
    class: "input",
    publicMessage: "Cannot read the image: it has more pixels than this server accepts.",
  },
  too_much_memory: {
    class: "input",
    publicMessage: "Cannot read the image: decoding it takes more memory than this server gives to one.",
  },
  timeout: { class: "input", publicMessage: "Cannot read the image: decoding it took too long." },
  decoder_failed: { class: "input", publicMessage: "Cannot read the image: the decoder failed on it." },
  out_of_memory: {
    class: "overload",
    publicMessage: "Cannot read the image: the server has no memory left for it. Try again later.",
  },
  busy: { class: "overload", publicMessage: "Cannot take the image: too many images are waiting. Try again later." },
  aborted: { class: "cancelled", publicMessage: "The image was dropped because the request was cancelled." },
  closed: { class: "internal", publicMessage: "Cannot take the image: the server is shutting down." },
} as const satisfies Record<string, TileReasonInfo>;

export type TileReason = keyof typeof TILE_REASONS;

interface TileErrorOptions extends ErrorOptions {
  readonly memory?: { readonly needBytes: number; readonly maxBytes: number };
}

/** The one error that leaves edge/tile. `message` is for the log; only `reason` and `publicMessage` may reach a client. */
export class TileError extends Error {
  override readonly name = "TileError";
  readonly reason: TileReason;
  /** Of `too_much_memory`: what the picture takes, and what there is. */
  readonly memory: { readonly needBytes: number; readonly maxBytes: number } | undefined;

  constructor(reason: TileReason, detail?: string, options: TileErrorOptions = {}) {
    super(detail === undefined ? TILE_REASONS[reason].publicMessage : `${reason}: ${detail}`, options);
    this.reason = reason;
    this.memory = options.memory;
  }

  get class(): TileErrorClass {
    return TILE_REASONS[this.reason].class;
  }

  get publicMessage(): string {
    return TILE_REASONS[this.reason].publicMessage;
  }
}

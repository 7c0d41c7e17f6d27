// Owns the messages between the pool and its workers.
import type { TileReason } from "./errors.ts";
import type { CheckedLimits, CheckedOptions } from "./options.ts";
import type { TiledImage, TileTimings } from "./types.ts";

/** First message to a worker. The module was compiled once; all workers share its machine code. */
export interface InitMessage {
  readonly kind: "init";
  readonly module: WebAssembly.Module;
  readonly limits: CheckedLimits;
}

/** One picture. `bytes` is transferred to the worker. A worker gets the next one after its answer. */
export interface TileMessage {
  readonly kind: "tile";
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly options: CheckedOptions;
}

export type ToWorker = InitMessage | TileMessage;

export type WorkerTimings = Omit<TileTimings, "queueMs">;

export type FromWorker =
  & {
    /** WASM memory of the worker's instance, which only grows. */
    readonly memoryBytes: number;
  }
  & (
    /** The instance is there and warm. */
    | { readonly kind: "ready" }
    /** The tiles' buffers are transferred. */
    | { readonly kind: "tiled"; readonly image: Omit<TiledImage, "timings">; readonly timings: WorkerTimings }
    /** `broken`: the worker must be replaced. */
    | { readonly kind: "failed"; readonly reason: TileReason; readonly detail: string; readonly broken: boolean }
  );

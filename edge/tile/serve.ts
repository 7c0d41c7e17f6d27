// Owns the inside of a worker: one instance, warmed up, one picture at a time.
import { createHash } from "node:crypto";
import { TileError } from "./errors.ts";
import type { CheckedLimits, CheckedOptions } from "./options.ts";
import type { FromWorker, InitMessage, TileMessage, ToWorker } from "./protocol.ts";
import type { CutImage } from "./tiler.ts";
import { WARM_UP_JPEG, WARM_UP_LIMIT_MS, WARM_UP_LIMITS, WARM_UP_OPTIONS, WARM_UP_ROUNDS } from "./warm_up.ts";

/** What a worker needs of a tiler; tests put a misbehaving one in its place. */
export interface TilerLike {
  readonly memoryBytes: number;
  tile(bytes: Uint8Array, options: CheckedOptions, limits: CheckedLimits): CutImage;
}

/** What a worker needs of its global scope. */
export interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
}

export function serve(scope: WorkerScope, createTiler: (module: WebAssembly.Module) => TilerLike): void {
  let init: InitMessage | undefined;
  let tiler: TilerLike | undefined;

  scope.onmessage = ({ data }) => {
    if (data.kind === "init") {
      init = data;
      tiler = createTiler(init.module);
      warmUp(tiler);
      scope.postMessage({ kind: "ready", memoryBytes: tiler.memoryBytes });
    } else if (init !== undefined && tiler !== undefined) {
      answer(scope, tiler, data, init.limits);
    }
  };
}

function answer(
  scope: WorkerScope,
  tiler: TilerLike,
  { bytes, options }: TileMessage,
  limits: CheckedLimits,
): void {
  try {
    const { timings, ...image } = tiler.tile(bytes, options, limits);
    // The file came by transfer and is in the WASM's memory: freed here, it does not wait for the garbage collector.
    bytes.buffer.transfer(0);
    const start = performance.now();
    const hashes = image.tiles.map(sha256);
    const hashMs = performance.now() - start;
    const transfer = image.tiles.map((tile) => tile.buffer);
    const { memoryBytes } = tiler;
    const message = {
      kind: "tiled",
      image: { ...image, hashes },
      timings: { ...timings, hashMs },
      memoryBytes,
    } as const;
    scope.postMessage(message, transfer);
  } catch (error) {
    const { reason, message, cause } = error instanceof TileError
      ? error
      : new TileError("decoder_failed", String(error), { cause: error });
    const { memoryBytes } = tiler;
    scope.postMessage({ kind: "failed", reason, detail: message, broken: cause !== undefined, memoryBytes });
  }
}

/** Unlike `crypto.subtle`, it takes neither a copy, which would wait for the garbage collector, nor another thread. */
function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Lets the engine compile the hot loops with its optimising compiler: a first picture takes several times as long. */
function warmUp(tiler: TilerLike): void {
  const end = performance.now() + WARM_UP_LIMIT_MS;
  for (let round = 0; round < WARM_UP_ROUNDS && performance.now() < end; round++) {
    tiler.tile(WARM_UP_JPEG, WARM_UP_OPTIONS, WARM_UP_LIMITS);
  }
}

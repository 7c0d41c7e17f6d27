/** Server-sent events over HTTP: one event per item, a comment when nothing comes, and the news that the client left. */

export interface SseOptions {
  readonly keepAliveMs: number;
  /** Called once, when the last byte was taken or the client is gone. */
  readonly onClose: (isClientGone: boolean) => void;
}

const HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  // no-transform keeps proxies and the runtime from compressing, which would hold events back.
  "cache-control": "no-cache, no-transform",
  "x-accel-buffering": "no",
};

/** A response that reads `items` only as fast as the client does. */
export function sseResponse(items: AsyncGenerator<string, void>, options: SseOptions): Response {
  return new Response(sseBody(items, options), { headers: HEADERS });
}

export function sseBody(items: AsyncGenerator<string, void>, options: SseOptions): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  /** The item asked for and not yet here; outlives the keep-alive comments sent meanwhile. */
  let pending: Promise<IteratorResult<string, void>> | null = null;
  let isClosed = false;
  const close = (isClientGone: boolean) => {
    if (isClosed) return;
    isClosed = true;
    options.onClose(isClientGone);
  };
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        pending ??= items.next();
        const result = await orAfter(pending, options.keepAliveMs);
        if (isClosed) return;
        if (result === null) return controller.enqueue(encoder.encode(": keep-alive\n\n"));
        pending = null;
        if (result.done !== true) return controller.enqueue(encoder.encode(`data: ${result.value}\n\n`));
        controller.close();
        close(false);
      } catch (error) {
        controller.error(error);
        close(false);
      }
    },
    cancel() {
      pending?.catch(() => {});
      close(true);
    },
  }, { highWaterMark: 0 });
}

/** The promise's value, or null when it takes longer than `ms`. */
async function orAfter<T>(promise: Promise<T>, ms: number): Promise<T | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<null>((resolve) => timer = setTimeout(() => resolve(null), ms));
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

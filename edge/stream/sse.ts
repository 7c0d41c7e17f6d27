/** Server-sent events over HTTP: one event per item, a comment when nothing comes, and the news that the client left. */

/** Data of an event, with its number where the stream can be taken up again. */
export type SseItem = string | { readonly id: string; readonly data: string };

export interface SseOptions {
  readonly keepAliveMs: number;
  /** A client that reads nothing for this long counts as gone. */
  readonly stallMs: number;
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
export function sseResponse(items: AsyncGenerator<SseItem, void>, options: SseOptions): Response {
  return new Response(sseBody(items, options), { headers: HEADERS });
}

export function sseBody(items: AsyncGenerator<SseItem, void>, options: SseOptions): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  /** The item asked for and not yet here; outlives the keep-alive comments sent meanwhile. */
  let pending: Promise<IteratorResult<SseItem, void>> | null = null;
  let isClosed = false;
  let stall: ReturnType<typeof setTimeout> | undefined;
  const close = (isClientGone: boolean) => {
    if (isClosed) return;
    isClosed = true;
    clearTimeout(stall);
    pending?.catch(() => {});
    options.onClose(isClientGone);
  };
  const send = (controller: ReadableStreamDefaultController<Uint8Array>, text: string) => {
    stall = setTimeout(() => {
      controller.error(new Error("The client does not read"));
      close(true);
    }, options.stallMs);
    controller.enqueue(encoder.encode(text));
  };
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      clearTimeout(stall);
      try {
        pending ??= items.next();
        const result = await orAfter(pending, options.keepAliveMs);
        if (isClosed) return;
        if (result === null) return send(controller, ": keep-alive\n\n");
        pending = null;
        if (result.done !== true) return send(controller, framed(result.value));
        controller.close();
        close(false);
      } catch (error) {
        controller.error(error);
        close(false);
      }
    },
    cancel: () => close(true),
  }, { highWaterMark: 0 });
}

function framed(item: SseItem): string {
  return typeof item === "string" ? `data: ${item}\n\n` : `id: ${item.id}\ndata: ${item.data}\n\n`;
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

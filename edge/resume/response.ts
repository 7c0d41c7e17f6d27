/** The stream of a kept answer: as any other, with the number of each event, and no harm done when the client leaves. */
import type { EdgeDeps } from "../deps.ts";
import { type SseItem, sseResponse } from "../stream/sse.ts";
import { STREAM_ID_HEADER } from "./idempotency.ts";
import type { KeptEvent } from "./kept_answer.ts";

export function keptResponse(
  deps: Pick<EdgeDeps, "config">,
  id: string,
  events: AsyncGenerator<KeptEvent, void>,
): Response {
  const { keepAliveMs, stallMs } = deps.config.waits;
  const response = sseResponse(numbered(id, events), {
    keepAliveMs,
    stallMs,
    onClose: () => void events.return().catch(() => {}),
  });
  response.headers.set(STREAM_ID_HEADER, id);
  return response;
}

async function* numbered(id: string, events: AsyncGenerator<KeptEvent, void>): AsyncGenerator<SseItem, void> {
  for await (const { index, data } of events) yield { id: `${id}:${index}`, data };
}

/** Reads `Last-Event-ID` as it was sent; null when it is not one of ours. */
export function parseEventId(text: string | undefined): { readonly id: string; readonly after: number } | null {
  const match = text?.match(/^(chatcmpl-[0-9a-z]{1,64}):(\d{1,9})$/);
  return match ? { id: match[1]!, after: Number(match[2]) } : null;
}

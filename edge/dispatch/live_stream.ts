/** The live stream as the edge uses it: make sure it exists, store a job, take an unclaimed job back. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers, type MsgHdrs, type NatsConnection } from "@nats-io/nats-core";
import {
  ensureStream,
  LIVE_STREAM,
  LIVE_STREAM_CONFIG,
  PUBLISH_TIMEOUT_MS,
  TesseraError,
  TRACEPARENT,
} from "@tessera/shared";
import { isFull } from "./jetstream_codes.ts";
import { noStorage } from "./per_connection.ts";
import { hasNoResponders } from "./probe.ts";

/**
 * Creates the stream unless it is there; one that an operator made with other settings is used as it is.
 * @returns when it was made, as the server says
 */
export async function ensureLiveStream(nc: NatsConnection): Promise<string> {
  const manager = await jetstreamManager(nc);
  return (await ensureStream(manager, LIVE_STREAM_CONFIG)).created;
}

/**
 * Stores a job; a job stored twice counts once.
 * @param traceparent of the request it is for, if that is traced
 * @returns its sequence number in the stream
 * @throws TesseraError `rate_limited` when the stream is full, `no_worker` when it cannot be reached
 */
export async function storeJob(
  nc: NatsConnection,
  jobId: string,
  subject: string,
  bytes: Uint8Array,
  traceparent: string | null = null,
): Promise<number> {
  const options = { msgID: jobId, timeout: PUBLISH_TIMEOUT_MS, ...traceHeaders(traceparent) };
  const publish = () => jetstream(nc).publish(subject, bytes, options);
  try {
    return (await publish().catch(async (error) => {
      // No stream listens to the subject: the server lost it, or it was never made.
      if (!hasNoResponders(error) && !hasNoResponders((error as Error).cause)) throw error;
      await ensureLiveStream(nc);
      return await publish();
    })).seq;
  } catch (cause) {
    if (isFull(cause)) {
      throw new TesseraError("rate_limited", { diagnostic: "The live stream is full", cause });
    }
    throw noStorage("Cannot store the job in the live stream", cause);
  }
}

/** What a job of a traced request carries beside itself. */
export function traceHeaders(traceparent: string | null): { readonly headers?: MsgHdrs } {
  if (traceparent === null) return {};
  const carried = headers();
  carried.set(TRACEPARENT, traceparent);
  return { headers: carried };
}

/** Takes a job out of the stream, so that no worker is bothered with it. Fails silently: a claim is refused anyway. */
export async function withdrawJob(nc: NatsConnection, streamSeq: number): Promise<void> {
  try {
    const manager = await jetstreamManager(nc, { checkAPI: false });
    await manager.streams.deleteMessage(LIVE_STREAM, streamSeq, false);
  } catch {
    // Acknowledged, expired or out of reach.
  }
}

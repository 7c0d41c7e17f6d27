/** The live stream as the edge uses it: make sure it exists, store a job, take an unclaimed job back. */
import { jetstream, JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import { type NatsConnection, RequestError } from "@nats-io/nats-core";
import { LIVE_STREAM, LIVE_STREAM_CONFIG, liveJobsSubject, PUBLISH_TIMEOUT_MS, TesseraError } from "@tessera/shared";

/** JetStream's codes: a limit of the stream is reached; the name is taken by a stream with other settings. */
const STORE_FAILED = 10077;
const NAME_IN_USE = 10058;

/** Creates the stream unless it is there; one that an operator made with other settings is used as it is. */
export async function ensureLiveStream(nc: NatsConnection): Promise<void> {
  const manager = await jetstreamManager(nc);
  try {
    await manager.streams.add({ ...LIVE_STREAM_CONFIG, subjects: [...LIVE_STREAM_CONFIG.subjects] });
  } catch (error) {
    if (!(error instanceof JetStreamApiError && error.code === NAME_IN_USE)) throw error;
  }
}

/**
 * Stores a job; a job stored twice counts once.
 * @returns its sequence number in the stream
 * @throws TesseraError `rate_limited` when the stream is full, `no_worker` when it cannot be reached
 */
export async function storeJob(nc: NatsConnection, jobId: string, model: string, bytes: Uint8Array): Promise<number> {
  const options = { msgID: jobId, timeout: PUBLISH_TIMEOUT_MS };
  const publish = () => jetstream(nc).publish(liveJobsSubject(model), bytes, options);
  try {
    return (await publish().catch(async (error) => {
      if (!hasNoStream(error)) throw error;
      await ensureLiveStream(nc);
      return await publish();
    })).seq;
  } catch (cause) {
    if (cause instanceof JetStreamApiError && cause.code === STORE_FAILED) {
      throw new TesseraError("rate_limited", { diagnostic: "The live stream is full", cause });
    }
    throw new TesseraError("no_worker", { diagnostic: "Cannot store the job in the live stream", cause });
  }
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

/** No stream listens to the subject: the server lost it, or it was never made. */
function hasNoStream(error: unknown): boolean {
  const cause = error instanceof Error && error.cause instanceof RequestError ? error.cause : error;
  return cause instanceof RequestError && cause.isNoResponders();
}

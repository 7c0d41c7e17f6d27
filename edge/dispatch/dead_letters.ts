/** The dead-letter stream as the edge uses it: one message for each job that is given up as the end of its workers. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { DEAD_STREAM_CONFIG, type DeadLetter, deadSubject, encodeMessage, PUBLISH_TIMEOUT_MS } from "@tessera/shared";
import { ensureStream } from "./ensure_stream.ts";

/** Stores a letter; the same job twice counts once. */
export async function storeDeadLetter(nc: NatsConnection, letter: DeadLetter, maxPayload: number): Promise<void> {
  await ensureStream(await jetstreamManager(nc), DEAD_STREAM_CONFIG);
  const options = { msgID: letter.job.id, timeout: PUBLISH_TIMEOUT_MS };
  await jetstream(nc).publish(deadSubject(letter.job.model), encodeMessage(letter, maxPayload), options);
}

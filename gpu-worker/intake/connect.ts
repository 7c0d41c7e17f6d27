/** Owns the connection to NATS: which transport a URL asks for, and streams and consumers made where they are missing. */
import { type ConsumerConfig, JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import { credsAuthenticator, type NatsConnection, wsconnect } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import {
  BUS_RETRY_MS,
  connectByScheme,
  DURABLE_STREAM_CONFIG,
  durableConsumerConfig,
  ensureStream,
  JOB_CLASSES,
  LIVE_STREAM_CONFIG,
  liveConsumerConfig,
  type Logger,
  type NatsAccess,
  NEWS_STREAM_CONFIG,
  NO_NATS_ACCESS,
  NUM_LANES,
  openSocket,
  parseServers,
  type PlainStreamConfig,
  TILES_STREAM_CONFIG,
  workerConsumerConfig,
} from "@tessera/shared";

/** Connects once; the connection then reconnects for ever. */
export function connectNats(list: string, name: string, access: NatsAccess = NO_NATS_ACCESS): Promise<NatsConnection> {
  return connectByScheme({ connect, wsconnect, credsAuthenticator, openSocket }, list, access, {
    name,
    maxReconnectAttempts: -1,
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: BUS_RETRY_MS,
    pingInterval: 10_000,
    maxPingOut: 2,
  });
}

/** Connects, trying again until it works or `signal` aborts. */
export async function connectNatsPatiently(
  list: string,
  name: string,
  log: Logger,
  signal: AbortSignal,
  access: NatsAccess = NO_NATS_ACCESS,
): Promise<NatsConnection> {
  parseServers(list);
  while (true) {
    signal.throwIfAborted();
    try {
      return await connectNats(list, name, access);
    } catch (error) {
      log.warn("nats_connect_failed", { error });
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, BUS_RETRY_MS);
      signal.addEventListener("abort", done);
      function done() {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      }
    });
  }
}

/** Makes a stream and a consumer on it unless they are there. Idempotent; run after every reconnection. */
async function ensureConsumer(
  nc: NatsConnection,
  stream: PlainStreamConfig,
  consumer: Partial<ConsumerConfig> & { readonly durable_name: string },
): Promise<void> {
  const manager = await jetstreamManager(nc);
  await ensureStream(manager, stream);
  try {
    await manager.consumers.info(stream.name, consumer.durable_name);
  } catch (error) {
    if (!(error instanceof JetStreamApiError)) throw error;
    await manager.consumers.add(stream.name, consumer);
  }
}

/** The live stream and the model's consumers on it. */
export async function ensureQueue(nc: NatsConnection, model: string, ackWaitMs?: number): Promise<void> {
  for (const ofClass of JOB_CLASSES) {
    await ensureConsumer(nc, LIVE_STREAM_CONFIG, liveConsumerConfig(model, ackWaitMs, ofClass));
  }
}

/** The worker's own queue on the live stream. */
export function ensureOwnQueue(nc: NatsConnection, model: string, workerId: string, ackWaitMs?: number): Promise<void> {
  return ensureConsumer(nc, LIVE_STREAM_CONFIG, workerConsumerConfig(model, workerId, ackWaitMs));
}

/** Everything durable jobs need. */
export async function ensureDurableQueue(nc: NatsConnection, model: string, ackWaitMs?: number): Promise<void> {
  for (let lane = 0; lane < NUM_LANES; lane++) {
    await ensureConsumer(nc, DURABLE_STREAM_CONFIG, durableConsumerConfig(model, lane, ackWaitMs));
  }
  const manager = await jetstreamManager(nc);
  for (const config of [TILES_STREAM_CONFIG, NEWS_STREAM_CONFIG]) await ensureStream(manager, config);
}

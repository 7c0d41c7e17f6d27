/** Makes a stream unless it is there, over the caller's connection: edge and worker alike, whoever comes first. */
import type { JetStreamManager, StreamConfig, StreamInfo } from "@nats-io/jetstream";

/** JetStream's code for a name that is taken by a stream with other settings. */
const NAME_IN_USE = 10058;

/** What shared/streams/ says of a stream. */
export type PlainStreamConfig = Readonly<Omit<Partial<StreamConfig>, "name" | "subjects">> & {
  readonly name: string;
  readonly subjects: readonly string[];
};

/** One that an operator made with other settings, such as replicas, is used as it is. */
export async function ensureStream(manager: JetStreamManager, config: PlainStreamConfig): Promise<StreamInfo> {
  try {
    return await manager.streams.add({ ...config, subjects: [...config.subjects] });
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== NAME_IN_USE) throw error;
    return await manager.streams.info(config.name);
  }
}

/** Events that made a caption, by source and id, on the bus: whichever edge hears one again finds the same caption. */
import { type KV, Kvm } from "@nats-io/kv";
import { HOOK_EVENTS_BUCKET_CONFIG, newListId, sha256Hex } from "@tessera/shared";
import type { Bus } from "../dispatch/bus.ts";
import { PerConnection } from "../dispatch/per_connection.ts";

export interface SeenEvent {
  readonly captionId: string;
  /** Whether it was heard before. */
  readonly isAgain: boolean;
}

export class SeenEvents {
  readonly #kv: PerConnection<KV>;

  constructor(bus: Bus) {
    const { name, options } = HOOK_EVENTS_BUCKET_CONFIG;
    this.#kv = new PerConnection(bus, (nc) => new Kvm(nc).create(name, { ...options }));
  }

  /** The id of the caption that an event makes, or has made. */
  async claim(source: string, eventId: string): Promise<SeenEvent> {
    const kv = await this.#kv.get();
    const key = await keyOf(source, eventId);
    const captionId = newListId("cap");
    try {
      await kv.create(key, captionId);
      return { captionId, isAgain: false };
    } catch (error) {
      const entry = await kv.get(key);
      if (entry === null || entry.operation !== "PUT") throw error;
      return { captionId: entry.string(), isAgain: true };
    }
  }

  /** The event made nothing: it may come again as if it never had. */
  async forget(source: string, eventId: string): Promise<void> {
    await (await this.#kv.get()).delete(await keyOf(source, eventId));
  }
}

function keyOf(source: string, eventId: string): Promise<string> {
  return sha256Hex(new TextEncoder().encode(JSON.stringify([source, eventId])));
}

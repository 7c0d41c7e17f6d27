/**
 * Owns events on their way to edges that take several in one message: what is new for an edge at one moment goes out
 * together. A moment ends before anything else happens on the bus, so nothing changes places with what comes later.
 */
import { eventBatchSubject, MAX_EVENT_BATCH_CHARS } from "@tessera/shared";

/** What it needs of a connection. */
export interface EventBus {
  publish(subject: string, payload: string): void;
  isClosed(): boolean;
}

interface Batch {
  readonly events: string[];
  numChars: number;
}

export class EventOutbox {
  readonly #bus: EventBus;
  /** By edge. */
  readonly #batches = new Map<string, Batch>();

  constructor(bus: EventBus) {
    this.#bus = bus;
  }

  /** @param event as JSON, with its job's id */
  put(edgeId: string, event: string): void {
    if (this.#batches.size === 0) queueMicrotask(() => this.flush());
    let batch = this.#batches.get(edgeId);
    if (batch !== undefined && batch.numChars + event.length > MAX_EVENT_BATCH_CHARS) {
      this.#send(edgeId, batch);
      batch = undefined;
    }
    if (batch === undefined) this.#batches.set(edgeId, batch = { events: [], numChars: 0 });
    batch.events.push(event);
    batch.numChars += event.length;
  }

  /** Hands everything to the connection now. */
  flush(): void {
    for (const [edgeId, batch] of this.#batches) this.#send(edgeId, batch);
    this.#batches.clear();
  }

  #send(edgeId: string, { events }: Batch): void {
    if (!this.#bus.isClosed()) this.#bus.publish(eventBatchSubject(edgeId), `{"v":2,"events":[${events.join()}]}`);
  }
}

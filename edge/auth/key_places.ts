/**
 * How many requests of an API key are under way on all edges together. Each edge has a lease of so many places for each
 * key it serves; a lease changes only where nobody else's changed in between, and an edge that dies lets go by itself.
 */
import { jetstream, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import {
  ensureStream,
  KEY_LEASE_MS,
  type Logger,
  METER_TIMEOUT_MS,
  PLACES_STREAM,
  PLACES_STREAM_CONFIG,
  placesOf,
  placesSubject,
} from "@tessera/shared";
import type { Bus } from "../dispatch/bus.ts";
import { isSuperseded } from "../dispatch/jetstream_codes.ts";
import { PerConnection } from "../dispatch/per_connection.ts";

/** A lease is said again this often, so that two that are lost end nothing. */
const RENEW_MS = KEY_LEASE_MS / 3;
/** Times others may come in between before this edge's own count decides. */
const MAX_ROUNDS = 32;
/** An answer that has ended at another edge is heard of a moment later than by its client: looked again, so often. */
const LOOKS = 4;
const LOOK_MS = 40;

type Outcome = "in" | "full_here" | "full_elsewhere";

interface Waiting {
  readonly max: number;
  readonly settle: (outcome: Outcome) => void;
}

/** What this edge knows of one key. */
interface KeyState {
  /** Requests of this edge that have a place. */
  held: number;
  /** Places that the bus knows this edge to hold. */
  leased: number;
  readonly waiting: Waiting[];
  /** Of all leases of the key: the sum of others', and the last sequence; null: to be read. */
  known: { readonly others: number; readonly sequence: number; readonly nc: NatsConnection } | null;
  isWorking: boolean;
}

export class KeyPlaces {
  readonly #edgeId: string;
  readonly #log: Logger;
  readonly #opened: PerConnection<{ readonly nc: NatsConnection; readonly manager: JetStreamManager }>;
  /** By the key's id; those with a place or somebody waiting. */
  readonly #keys = new Map<string, KeyState>();
  readonly #renewing: ReturnType<typeof setInterval>;

  constructor(bus: Bus, edgeId: string, log: Logger) {
    this.#edgeId = edgeId;
    this.#log = log;
    this.#opened = new PerConnection(bus, async (nc) => {
      const manager = await jetstreamManager(nc, { checkAPI: false, timeout: METER_TIMEOUT_MS });
      await ensureStream(manager, PLACES_STREAM_CONFIG);
      return { nc, manager };
    });
    this.#renewing = setInterval(() => this.#renew(), RENEW_MS);
  }

  /** Ends renewing; what is still held ends with its lease. */
  close(): void {
    clearInterval(this.#renewing);
  }

  /** Takes a place; false when the key has `max` requests under way. While the bus is away this edge's own are counted. */
  async enter(keyId: string, max: number): Promise<boolean> {
    for (let look = 1;; look++) {
      const outcome = await this.#ask(keyId, max);
      if (outcome === "in") return true;
      if (outcome === "full_here" || look === LOOKS) return false;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  #ask(keyId: string, max: number): Promise<Outcome> {
    const state = this.#keys.get(keyId) ??
      { held: 0, leased: 0, waiting: [], known: null, isWorking: false } satisfies KeyState;
    this.#keys.set(keyId, state);
    return new Promise((settle) => {
      state.waiting.push({ max, settle });
      this.#work(keyId, state);
    });
  }

  /** Gives a place back. */
  leave(keyId: string): void {
    const state = this.#keys.get(keyId);
    if (state === undefined) return;
    state.held--;
    this.#work(keyId, state);
  }

  /** One at a time for a key: what came meanwhile goes with the next message. */
  #work(keyId: string, state: KeyState): void {
    if (state.isWorking) return;
    state.isWorking = true;
    void this.#settleAll(keyId, state).finally(() => {
      state.isWorking = false;
      if (state.waiting.length > 0 || state.held !== state.leased) return this.#work(keyId, state);
      if (state.held === 0) this.#keys.delete(keyId);
    });
  }

  async #settleAll(keyId: string, state: KeyState): Promise<void> {
    // Whoever leaves and enters in one turn of the loop costs no message.
    await Promise.resolve();
    try {
      for (let round = 0; round < MAX_ROUNDS; round++) if (await this.#round(keyId, state)) return;
      throw new Error("Others came in between too often");
    } catch (error) {
      this.#log.warn("key_places_unreachable", { key_id: keyId, error });
      state.known = null;
      // Work is worth more than a count.
      for (const { max, settle } of state.waiting.splice(0)) settle(this.#enterHere(state, max) ? "in" : "full_here");
      state.leased = state.held;
    }
  }

  /** One try to lease what is wanted; false when others came in between. */
  async #round(keyId: string, state: KeyState): Promise<boolean> {
    const { nc, manager } = await this.#opened.get();
    const isFresh = state.known === null || state.known.nc !== nc;
    if (isFresh) state.known = { ...await this.#read(manager, keyId), nc };
    const { others, sequence } = state.known!;
    const { held } = state;
    let numNew = 0;
    const asked = [...state.waiting];
    const isIn = asked.map(({ max }) => {
      const hasRoom = others + held + numNew < max;
      if (hasRoom) numNew++;
      return hasRoom;
    });
    // Nobody is refused by what was true a while ago.
    if (!isFresh && isIn.includes(false)) {
      state.known = null;
      return false;
    }
    if (held + numNew !== state.leased) {
      try {
        const subject = placesSubject(keyId, this.#edgeId);
        const { seq } = await jetstream(nc).publish(subject, String(held + numNew), {
          timeout: METER_TIMEOUT_MS,
          expect: { lastSubjectSequence: sequence, lastSubjectSequenceSubject: placesOf(keyId) },
        });
        state.leased = held + numNew;
        state.known = { others, sequence: seq, nc };
      } catch (error) {
        if (!isSuperseded(error)) throw error;
        state.known = null;
        return false;
      }
    }
    state.held += numNew;
    state.waiting.splice(0, asked.length);
    asked.forEach(({ settle }, index) => settle(isIn[index] ? "in" : others > 0 ? "full_elsewhere" : "full_here"));
    return true;
  }

  async #read(manager: JetStreamManager, keyId: string): Promise<{ others: number; sequence: number }> {
    let others = 0;
    let sequence = 0;
    const own = placesSubject(keyId, this.#edgeId);
    for await (
      const { subject, seq, data } of await manager.direct.getLastMessagesFor(PLACES_STREAM, {
        multi_last: [placesOf(keyId)],
      })
    ) {
      sequence = Math.max(sequence, seq);
      if (subject !== own) others += Number(new TextDecoder().decode(data)) || 0;
    }
    return { others, sequence };
  }

  #enterHere(state: KeyState, max: number): boolean {
    if (state.held >= max) return false;
    state.held++;
    return true;
  }

  /** Says every lease again. What is said says nothing new, so that it does not matter who else speaks. */
  #renew(): void {
    for (const [keyId, state] of this.#keys) {
      if (state.held === 0 || state.isWorking) continue;
      // As if the bus knew of none.
      state.leased = 0;
      state.known = null;
      this.#work(keyId, state);
    }
  }
}

/** Owns the watch over edges: one that nobody listens for any more is gone, and so are the clients of its jobs. */
import type { NatsConnection } from "@nats-io/nats-core";
import { edgeAlive, PROBE_TIMEOUT_MS } from "@tessera/shared";
import { hasNoResponders } from "./claim.ts";

export class EdgeWatch {
  readonly #nc: NatsConnection;
  readonly #goneMs: number;
  readonly #onGone: (edgeId: string) => void;
  /** performance.now() since when nobody has listened, of the edges for which nobody did when asked last. */
  readonly #absentSince = new Map<string, number>();
  readonly #asking = new Set<string>();

  /** @param goneMs how long an edge may be away before it is gone */
  constructor(nc: NatsConnection, goneMs: number, onGone: (edgeId: string) => void) {
    this.#nc = nc;
    this.#goneMs = goneMs;
    this.#onGone = onGone;
  }

  /** Asks for the edges that jobs come from. To be called now and then. */
  check(edgeIds: Iterable<string>): void {
    const wanted = new Set(edgeIds);
    for (const edgeId of this.#absentSince.keys()) if (!wanted.has(edgeId)) this.#absentSince.delete(edgeId);
    for (const edgeId of wanted) if (!this.#asking.has(edgeId)) void this.#ask(edgeId);
  }

  async #ask(edgeId: string): Promise<void> {
    this.#asking.add(edgeId);
    try {
      await this.#nc.request(edgeAlive(edgeId), "", { timeout: PROBE_TIMEOUT_MS });
      this.#absentSince.delete(edgeId);
    } catch (error) {
      if (hasNoResponders(error)) this.#isAbsent(edgeId);
    } finally {
      this.#asking.delete(edgeId);
    }
  }

  #isAbsent(edgeId: string): void {
    const now = performance.now();
    const since = this.#absentSince.get(edgeId);
    if (since === undefined) this.#absentSince.set(edgeId, now);
    else if (now - since >= this.#goneMs) {
      this.#absentSince.delete(edgeId);
      this.#onGone(edgeId);
    }
  }
}

/** How many attempts go to one host at once: what is slow or dead holds up itself alone. */

/** How much an attempt weighs in the mean time of its host. */
const WEIGHT = 0.2;
/** Bounds of the wait of what finds its host full. */
const MIN_WAIT_MS = 200;
const MAX_WAIT_MS = 60_000;

interface Lane {
  numRunning: number;
  /** Deliveries that were sent away to come again. */
  numAway: number;
  meanMs: number;
}

export class HostLanes {
  readonly #numAtOnce: number;
  readonly #lanes = new Map<string, Lane>();

  constructor(numAtOnce: number) {
    this.#numAtOnce = numAtOnce;
  }

  /**
   * Enters, or says in how many milliseconds to come again: the later, the more wait already.
   * @param wasAway whether it was told so before
   */
  enter(host: string, wasAway: boolean): { readonly leave: () => void } | { readonly comeAgainMs: number } {
    const lane = this.#lanes.get(host) ?? { numRunning: 0, numAway: 0, meanMs: 1_000 };
    this.#lanes.set(host, lane);
    if (wasAway) lane.numAway = Math.max(0, lane.numAway - 1);
    if (lane.numRunning >= this.#numAtOnce) {
      lane.numAway++;
      const wait = (lane.numAway * lane.meanMs) / this.#numAtOnce;
      return { comeAgainMs: Math.min(MAX_WAIT_MS, Math.max(MIN_WAIT_MS, wait)) };
    }
    lane.numRunning++;
    const began = performance.now();
    return {
      leave: () => {
        lane.numRunning--;
        lane.meanMs += WEIGHT * (performance.now() - began - lane.meanMs);
        if (lane.numRunning === 0 && lane.numAway === 0) this.#lanes.delete(host);
      },
    };
  }

  /** Hosts that something runs to, or waits for. */
  get size(): number {
    return this.#lanes.size;
  }
}

// Owns the choice of the worker for a picture within the pool's memory: which one takes it, which ones give theirs back.

/** What the choice looks at. */
export interface Holder {
  readonly isIdle: boolean;
  /** WASM memory it holds beyond that of a fresh worker. It never shrinks while the worker lives. */
  readonly memoryBytes: number;
  /** What its running picture may take; 0 without one. */
  readonly reservedBytes: number;
}

export interface Placement<T> {
  /** Takes the picture; undefined: none can before those in `renew` have started anew. */
  readonly worker: T | undefined;
  /** Idle workers to be started anew, because their memory is needed. */
  readonly renew: readonly T[];
}

export function heldBytes(holders: readonly Holder[]): number {
  return holders.reduce((sum, { memoryBytes, reservedBytes }) => sum + Math.max(memoryBytes, reservedBytes), 0);
}

/**
 * Where a picture that needs `need` bytes can run so that all workers together stay within `max`; undefined: it waits
 * for a running one to end. A picture with `need <= max` finds a place at the latest when nothing else runs.
 */
export function place<T extends Holder>(holders: readonly T[], need: number, max: number): Placement<T> | undefined {
  const idle = holders.filter((holder) => holder.isIdle);
  const held = heldBytes(holders);
  let withRenewal: Placement<T> | undefined;
  for (const worker of idle.toSorted((a, b) => preference(a, need) - preference(b, need))) {
    let excess = held + Math.max(0, need - worker.memoryBytes) - max;
    if (excess <= 0) return { worker, renew: [] };
    const renew: T[] = [];
    for (const other of idle.toSorted((a, b) => b.memoryBytes - a.memoryBytes)) {
      if (excess <= 0) break;
      if (other === worker || other.memoryBytes === 0) continue;
      renew.push(other);
      excess -= other.memoryBytes;
    }
    if (excess <= 0) withRenewal ??= { worker, renew };
  }
  if (withRenewal !== undefined) return withRenewal;
  const renew = idle.filter((holder) => holder.memoryBytes > 0);
  const running = held - renew.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  return renew.length > 0 && running + need <= max ? { worker: undefined, renew } : undefined;
}

/** The least memory that is enough goes first; without one, the most, which has to grow the least. */
function preference(holder: Holder, need: number): number {
  const spare = holder.memoryBytes - need;
  return spare >= 0 ? spare : Number.MAX_SAFE_INTEGER / 2 - holder.memoryBytes;
}

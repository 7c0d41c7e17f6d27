/** Which worker shall have a job: the one that had its picture or its beginning before, unless it is busier than the rest. */
import { type Announcement, type Job, ROUTE_LOAD_BOUND } from "@tessera/shared";

/**
 * What a job shares with others that should run where it runs: its first picture, or else how it begins. Later turns of
 * a conversation have the same.
 */
export function routeKey(job: Job): string {
  const [image] = job.images;
  if (image !== undefined) return image.tiles.join();
  const firstQuestion = job.messages.findIndex(({ role }) => role === "user");
  return JSON.stringify([job.tenant, job.cache_salt, job.messages.slice(0, firstQuestion + 1)]);
}

/** Id of the preferred worker, by rendezvous hashing; null where there is no choice. */
export function preferredWorker(key: string, workers: readonly Announcement[]): string | null {
  const takers = workers.filter(({ draining, routed }) => !draining && routed === true);
  if (takers.length < 2 || takers.length < workers.length) return null;
  const load = takers.reduce((sum, { running }) => sum + running, 0);
  const places = takers.reduce((sum, { capacity }) => sum + capacity, 0);
  let best: string | null = null;
  let bestScore = -1;
  for (const { worker_id, running, capacity } of takers) {
    // Each has keys, and may have load, in proportion to its places.
    const bound = Math.ceil(ROUTE_LOAD_BOUND * (load + 1) * capacity / places);
    const score = -capacity / Math.log((hash(key, worker_id) + 0.5) / 2 ** 32);
    if (running >= Math.min(bound, capacity) || score <= bestScore) continue;
    best = worker_id;
    bestScore = score;
  }
  return best;
}

/** FNV-1a with a finaliser, 32 bits. */
function hash(key: string, workerId: string): number {
  let h = 0x811c9dc5;
  for (const text of [key, workerId]) {
    for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
    h = Math.imul(h ^ 0xff, 0x01000193);
  }
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Pieces of files that nobody has: left by an edge that ended in the middle of an upload. */
import { JetStreamApiError, type JetStreamManager } from "@nats-io/jetstream";
import { FILES_BUCKET, objectPieces, objectStream, UPLOAD_TIMEOUT_MS } from "@tessera/shared";

const STREAM = objectStream(FILES_BUCKET);
const NO_MESSAGE = 10037;

/** What the object store says of an object. */
interface Meta {
  readonly name: string;
  readonly nuid: string;
  readonly deleted?: boolean;
}

/**
 * Forgets them.
 * @param ids of the files there are
 * @param olderThanMs what came later may be an upload on its way
 */
export async function dropOrphans(
  manager: JetStreamManager,
  ids: ReadonlySet<string>,
  olderThanMs: number = UPLOAD_TIMEOUT_MS,
): Promise<number> {
  const pieces = await subjectsOf(manager, objectPieces(FILES_BUCKET, "*"));
  // As many objects as files: the usual, and nothing to look for.
  if (pieces.length <= ids.size) return 0;
  const ours = new Set<string>();
  for (const subject of await subjectsOf(manager, `$O.${FILES_BUCKET}.M.*`)) {
    const meta = (await lastOf(manager, subject))?.json<Meta>();
    if (meta !== undefined && meta.deleted !== true && ids.has(meta.name)) ours.add(meta.nuid);
  }
  let numDropped = 0;
  for (const subject of pieces) {
    if (ours.has(subject.slice(subject.lastIndexOf(".") + 1))) continue;
    const last = await lastOf(manager, subject);
    if (last === null || Date.now() - last.time.getTime() < olderThanMs) continue;
    await manager.streams.purge(STREAM, { filter: subject });
    numDropped++;
  }
  return numDropped;
}

async function subjectsOf(manager: JetStreamManager, filter: string): Promise<string[]> {
  return Object.keys((await manager.streams.info(STREAM, { subjects_filter: filter })).state.subjects ?? {});
}

async function lastOf(manager: JetStreamManager, subject: string) {
  try {
    return await manager.streams.getMessage(STREAM, { last_by_subj: subject });
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === NO_MESSAGE) return null;
    throw error;
  }
}

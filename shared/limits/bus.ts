/** Bounds of the way between edge and worker: tries, pauses and sizes behind the queues. Part of limits.ts. */

/** Pause before the bus, a bucket's watch or a queue that is not there is tried again: a server is back in a second or two. */
export const BUS_RETRY_MS = 1_000;
/** How long a connection to one server may take before the next is tried. */
export const BUS_CONNECT_TIMEOUT_MS = 5_000;
/** How long whoever closes waits for a server that no longer answers. */
export const BUS_CLOSE_TIMEOUT_MS = 2_000;

/** How often an edge looks over its jobs for deadlines and lost workers; the least of its waits is four times that. */
export const SWEEP_MS = 250;
/** How often an edge looks for what dead workers left in the stream: it harms nobody there but the count. */
export const LEFTOVER_SWEEP_MS = 2_000;
/** Model names remembered after their workers left, so that their absence is told apart from a typing error. */
export const MAX_KNOWN_MODELS = 1_000;
/** How long a model without a worker is missed after somebody asked for it: longer than a client tries again. */
export const MISSED_MODEL_MS = 15 * 60_000;
/** Tiles of one job that the server has not confirmed: enough that the next is there when it has read one. */
export const MAX_TILES_AHEAD_OF_JOB = 4;
/** Tiles of all jobs that it has not: what waits in the socket's buffer, 10 MB of tiles of 448 pixels. */
export const MAX_TILES_AHEAD = 16;
/** Pieces of an answer kept apart for its reader; what comes on top is joined to the last. */
export const MAX_UNREAD_PIECES = 64;
/** Keep-alives missed after which a kept answer has lost its edge: two may be late on a busy bus. */
export const SILENT_KEEP_ALIVES = 3;
/** How often a reader of a kept answer is asked whether it is still there. */
export const ANSWER_POLL_MS = 1_000;

/** How long the edge that holds an Idempotency-Key has to say that it lives; somebody gone is told by the server at once. */
export const HOLDER_PROBE_MS = 1_000;

/** How long a pull request waits at the server. Short, so that a request lost on the way is soon made again. */
export const PULL_EXPIRES_MS = 5_000;
/** Pause before a pull that was refused is made again: time to make the queue anew. */
export const PULL_RETRY_MS = 500;
/** Jobs asked for at a time from the worker's own queue: on top of the others, so few. */
export const MAX_OWN_ASKED = 2;
/** How long a worker waits for the length of its queues; it says the last one it knew otherwise. */
export const QUEUE_DEPTH_TIMEOUT_MS = 1_000;
/** Cancelled jobs a worker remembers; every worker hears of every one. */
export const MAX_TOMBSTONES = 4_096;
/** A job whose edge does not answer is handed out again after this long: an edge that reconnects is back by then. */
export const ABSENT_EDGE_DELAY_MS = 1_000;
/** A stored job of a version a worker does not read waits so long for one that does, again and again. */
export const UNREADABLE_DELAY_MS = 30_000;
/** Pause before the last event of a job is sent again; the delivery is acknowledged only behind it. */
export const SETTLE_RETRY_MS = 100;
/** Reports of progress missed in a row after which a worker's process was stopped, not busy. */
export const SLEPT_PERIODS = 3;
/** Longer batches of events are cut, far below the bus's limit of a message. */
export const MAX_EVENT_BATCH_CHARS = 128 * 1024;

/** Tiles whose pixels may be on their way or in memory at once, 39 MB at 448 pixels; a single job may still bring more. */
export const MAX_PENDING_TILES = 64;
/** Tiles encoded between two steps: few where others wait for their next token, more where nobody does. */
export const TILES_PER_CALL = { cpu: { busy: 1, idle: 4 }, cuda: { busy: 8, idle: 16 } } as const;
/**
 * Steps behind which the next one waits in line: up to so many tokens, where the last one took up to so long. It saves the
 * millisecond between two of them; whoever arrives meanwhile waits for both.
 */
export const STEP_IN_LINE = { cpu: { tokens: 64, ms: 60 }, cuda: { tokens: Infinity, ms: Infinity } } as const;
/** Failed steps in a row after which a sequence is given up; after the first it runs alone. */
export const MAX_SEQUENCE_FAILURES = 2;
/** Failed engine calls in a row after which the engine, not a request, counts as broken. */
export const MAX_ENGINE_FAILURES = 4;

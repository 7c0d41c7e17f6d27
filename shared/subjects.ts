/** Every NATS name: subjects, streams, consumers, buckets. Nothing else spells one. */

/** Memory-backed work queue of interactive jobs. */
export const LIVE_STREAM = "TESSERA_LIVE";
/** Subjects the live stream stores. */
export const LIVE_JOBS_WILDCARD = "tessera.jobs.live.>";
/** KV bucket (with TTL) in which workers announce themselves; the key is the worker id. */
export const WORKERS_BUCKET = "tessera_workers";

/** KV bucket of API keys; the key is the hash of the secret. */
export const KEYS_BUCKET = "tessera_keys";
/** Counters of what API keys used: by day and month on disk, by minute in memory. The last message of a subject is its sum. */
export const USAGE_STREAM = "TESSERA_USAGE";
export const USAGE_WILDCARD = "tessera.usage.>";
export const PACE_STREAM = "TESSERA_PACE";
export const PACE_WILDCARD = "tessera.pace.>";
/** `period` is a day or a month: `2026-11-25`, `2026-11`. */
export const usageSubject = (keyId: string, period: string, field: string): string =>
  `tessera.usage.${keyId}.${period}.${field}`;
export const usageOf = (keyId: string): string => `tessera.usage.${keyId}.*.*`;
/** `minute` since 1970. */
export const paceSubject = (keyId: string, minute: number, field: string): string =>
  `tessera.pace.${keyId}.${minute}.${field}`;

/** Memory-backed stream of how many requests of a key each edge has under way; the last message of a subject holds. */
export const PLACES_STREAM = "TESSERA_PLACES";
export const PLACES_WILDCARD = "tessera.places.*.*";
export const placesSubject = (keyId: string, edgeId: string): string => `tessera.places.${keyId}.${edgeId}`;
export const placesOf = (keyId: string): string => `tessera.places.${keyId}.*`;

/**
 * A model's name as one subject token: letters, digits, `-` and `_` stand for themselves, every other UTF-8 byte
 * becomes `=XX`. Injective, so that two models never share a queue.
 */
export function modelToken(model: string): string {
  let token = "";
  for (const byte of new TextEncoder().encode(model)) {
    const char = String.fromCharCode(byte);
    token += /[A-Za-z0-9_-]/.test(char) ? char : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return token;
}

/** Interactive jobs wait in a queue for each class, first to last; within one, workers look at the priority itself. */
export const JOB_CLASSES = ["urgent", "usual", "late"] as const;
export type JobClass = (typeof JOB_CLASSES)[number];
/** Class of a job's priority, of which smaller goes first and 0 is usual. */
export function jobClass(priority: number): JobClass {
  return priority < 0 ? "urgent" : priority === 0 ? "usual" : "late";
}

/** Where the edge publishes interactive jobs for a model. */
export const liveJobsSubject = (model: string, ofClass: JobClass = "usual"): string =>
  `tessera.jobs.live.${modelToken(model)}.${ofClass}`;
/** Interactive jobs that one worker shall have, because it has their pictures and prefixes. */
export const jobsForWorker = (model: string, workerId: string): string =>
  `tessera.jobs.live.${modelToken(model)}.for.${workerId}`;
/** The consumer of those; it goes some time after its worker. */
export const workerConsumer = (workerId: string): string => `for_${workerId.replaceAll(".", "_")}`;
/** Consumer of a class that all workers of a model pull from. Consumer names admit no `=`, hence the replacement. */
export const liveConsumer = (model: string, ofClass: JobClass = "usual"): string =>
  `live_${ofClass}_${modelToken(model).replaceAll("=", "_x")}`;

/** A worker asks the job's edge here (request/reply) whether it may run the job, and which tiles it lacks. */
export const claimSubject = (edgeId: string, jobId: string): string => `tessera.edge.${edgeId}.claim.${jobId}`;
/** Token events of a job, worker to edge. */
export const eventsSubject = (edgeId: string, jobId: string): string => `tessera.edge.${edgeId}.events.${jobId}`;
/** Events of all the edge's jobs at one moment, since version 2 of the wire; no job has that id. */
const BATCH = "batch";
export const eventBatchSubject = (edgeId: string): string => eventsSubject(edgeId, BATCH);
export const isEventBatch = (subject: string): boolean => jobIdOf(subject) === BATCH;
/** All an edge listens to. */
export const edgeClaims = (edgeId: string): string => `tessera.edge.${edgeId}.claim.*`;
export const edgeEvents = (edgeId: string): string => `tessera.edge.${edgeId}.events.*`;

/** Tiles of a job, edge to worker, one a message. */
export const tilesSubject = (workerId: string, jobId: string): string => `tessera.worker.${workerId}.tiles.${jobId}`;
export const workerTiles = (workerId: string): string => `tessera.worker.${workerId}.tiles.*`;

/** Answered by a worker, and by an edge, for as long as it lives; nobody listening there means that it is gone. */
export const workerAlive = (workerId: string): string => `tessera.worker.${workerId}.alive`;
export const edgeAlive = (edgeId: string): string => `tessera.edge.${edgeId}.alive`;

/** A video is looked after by one of the workers that have FFmpeg; they share this subject as a queue group. */
export const VIDEO_OPEN = "tessera.media.open";
export const VIDEO_GROUP = "media";
/** All about one video after it was taken: `upload`, `plan`, `read` and `close`, each a request of the edge. */
export const videoSubject = (sessionId: string, verb: VideoVerb): string => `tessera.media.${sessionId}.${verb}`;
export const videoSession = (sessionId: string): string => `tessera.media.${sessionId}.*`;
export type VideoVerb = "upload" | "plan" | "read" | "close";

/** The client of a job is gone; heard by every worker, because the job may not be claimed yet. */
export const cancelSubject = (jobId: string): string => `tessera.cancel.${jobId}`;
export const CANCEL_WILDCARD = "tessera.cancel.*";

/** Last token of a subject: the job id in every subject above. */
export function jobIdOf(subject: string): string {
  return subject.slice(subject.lastIndexOf(".") + 1);
}

/** File-backed work queue of durable jobs; the job id is the last token, so that one job can be taken out by name. */
export const DURABLE_STREAM = "TESSERA_DURABLE";
export const DURABLE_JOBS_WILDCARD = "tessera.jobs.durable.*.*.*";
/** Lanes in which durable jobs wait, by tenant: workers take from each in turn, so a flood fills its own lane only. */
export const NUM_LANES = 8;
export const durableJobSubject = (model: string, tenant: string, jobId: string): string =>
  `tessera.jobs.durable.${modelToken(model)}.${laneOf(tenant)}.${jobId}`;
/** That job, in whatever lane. */
export const durableJobByName = (model: string, jobId: string): string =>
  `tessera.jobs.durable.${modelToken(model)}.*.${jobId}`;
export const durableJobsOf = (model: string, lane: number): string =>
  `tessera.jobs.durable.${modelToken(model)}.${lane}.*`;
export const durableConsumer = (model: string, lane: number): string =>
  `durable_${lane}_${modelToken(model).replaceAll("=", "_x")}`;

/** FNV-1a, folded to a lane. */
function laneOf(tenant: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(tenant)) hash = Math.imul(hash ^ byte, 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % NUM_LANES;
}

/** File-backed stream of durable jobs' tiles, one a message. */
export const TILES_STREAM = "TESSERA_TILES";
export const TILES_WILDCARD = "tessera.tiles.*.*";
export const storedTileSubject = (jobId: string, hash: string): string => `tessera.tiles.${jobId}.${hash}`;
export const storedTilesOf = (jobId: string): string => `tessera.tiles.${jobId}.*`;

/** KV bucket with the state of each durable job; the key is the job id. */
export const JOBS_BUCKET = "tessera_jobs";
/** File-backed stream of what becomes of durable jobs. */
export const NEWS_STREAM = "TESSERA_NEWS";
export const NEWS_WILDCARD = "tessera.news.*.*";
export const newsSubject = (status: string, jobId: string): string => `tessera.news.${status}.${jobId}`;

/** KV bucket of batches; the key is owner and batch id. */
export const BATCHES_BUCKET = "tessera_batches";
/** File-backed work queue of batches to run, and the consumer all edges share. */
export const BATCHES_STREAM = "TESSERA_BATCHES";
export const BATCHES_CONSUMER = "batches";
export const BATCHES_WILDCARD = "tessera.batches.run.*.*";
export const batchRunSubject = (owner: string, batchId: string): string => `tessera.batches.run.${owner}.${batchId}`;
/** File-backed stream of what became of each request of a running batch, by outcome and line. */
export const BATCH_RESULTS_STREAM = "TESSERA_BATCH_RESULTS";
export const BATCH_RESULTS_WILDCARD = "tessera.batches.result.*.*.*";
export const batchResultSubject = (batchId: string, outcome: "ok" | "failed", line: number): string =>
  `tessera.batches.result.${batchId}.${outcome}.${line}`;
export const batchResultsOf = (batchId: string): string => `tessera.batches.result.${batchId}.*.*`;

/** KV bucket of captions' requests; the key is owner and caption id, which is the job's. */
export const CAPTIONS_BUCKET = "tessera_captions";
/** Object store of files' bytes, and KV bucket of what is known of them; the key is owner and file id. */
export const FILES_BUCKET = "tessera_files";
export const FILE_RECORDS_BUCKET = "tessera_file_records";
/** Pieces of a stored object, as the object store lays them out. */
export const objectPieces = (bucket: string, nuid: string): string => `$O.${bucket}.C.${nuid}`;
/** Streams behind an object store and a KV bucket, and the subject of a key. */
export const objectStream = (bucket: string): string => `OBJ_${bucket}`;
export const bucketStream = (bucket: string): string => `KV_${bucket}`;
export const keySubject = (bucket: string, key: string): string => `$KV.${bucket}.${key}`;

/** File-backed queue of webhooks on their way; what is one caption's is delivered in the order of the stream. */
export const WEBHOOKS_STREAM = "TESSERA_WEBHOOKS";
export const WEBHOOKS_WILDCARD = "tessera.webhooks.*.*";
export const webhookSubject = (subjectId: string, deliveryId: string): string =>
  `tessera.webhooks.${subjectId}.${deliveryId}`;
export const webhooksOf = (subjectId: string): string => `tessera.webhooks.${subjectId}.*`;
/** Consumers that all deliverers share: of that queue, and of the news that fill it. */
export const WEBHOOKS_CONSUMER = "deliver";
export const NEWS_CONSUMER = "webhooks";
/** KV bucket of what became of each delivery; the key is the caption's id and the delivery's. */
export const DELIVERIES_BUCKET = "tessera_deliveries";
export const deliveryKey = (subjectId: string, deliveryId: string): string => `${subjectId}.${deliveryId}`;
/** KV bucket of deliveries that were given up; the key is the owner and the delivery's id. */
export const UNDELIVERED_BUCKET = "tessera_undelivered";

/** KV bucket of owners' signing secrets, sealed; the key is the owner and "secrets". */
export const SIGNING_BUCKET = "tessera_signing";

/** KV bucket of events of sources that made a caption; the key is a hash of source and event. */
export const HOOK_EVENTS_BUCKET = "tessera_hook_events";

/** Memory-backed stream of the events of answers that can be taken up again; names are sealed (edge/resume/). */
export const ANSWERS_STREAM = "TESSERA_ANSWERS";
export const ANSWERS_WILDCARD = "tessera.answers.*";
export const answerSubject = (name: string): string => `tessera.answers.${name}`;
/** KV bucket of Idempotency-Keys. */
export const REQUESTS_BUCKET = "tessera_requests";

/** File-backed stream of jobs that were given up because they ended every worker that took them, with the reason. */
export const DEAD_STREAM = "TESSERA_DEAD";
export const DEAD_WILDCARD = "tessera.dead.>";
export const deadSubject = (model: string): string => `tessera.dead.${modelToken(model)}`;

/** JetStream's own notice that a job was handed out as often as allowed and nobody finished it. */
export const LIVE_GIVEN_UP = `$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.${LIVE_STREAM}.*`;

/** An edge asks here (request/reply) what a text or a prompt is in tokens; one worker of the queue group answers. */
export const tokenizeSubject = (model: string): string => `tessera.tokenize.${modelToken(model)}`;
export const TOKENIZE_GROUP = "tokenize";

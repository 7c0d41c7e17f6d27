/** Bounds that hold everywhere: queues, payloads, waits. Defaults; the environment table names the adjustable ones. */
export * from "./limits/bus.ts";

/** Largest HTTP request body read, in bytes. A data: URL is a third larger than its picture. */
export const MAX_BODY_BYTES = 64 * 1024 * 1024;
/** Longest time for the head of an HTTP request: a packet or two, by the slowest of lines. */
export const HEAD_TIMEOUT_MS = 15_000;
/** How long a connection stays open between two requests: longer than balancers keep theirs (60 s), so that they end it. */
export const IDLE_CONNECTION_MS = 75_000;
/**
 * Connections an edge has open beside those of the requests it holds. With them it stays under 4,096 file descriptors, the
 * smallest hard limit in use.
 */
export const MAX_SPARE_CONNECTIONS = 2_000;
/** Largest encoded picture, in bytes. */
export const MAX_IMAGE_BYTES = 32 * 1024 * 1024;
/** Largest picture, in pixels, refused from the header before anything is decoded. */
export const MAX_IMAGE_PIXELS = 50_000_000;
/** Longest side of a picture, in pixels. */
export const MAX_IMAGE_SIDE = 16_384;
/** Longest time to decode and tile one picture, from its start in a worker. */
export const MAX_TILE_MS = 10_000;
/** Pictures in one request. */
export const MAX_IMAGES = 64;
/** Frames taken of one video when the request does not say, as in the vendor's quick start, and at most. */
export const DEFAULT_VIDEO_SEGMENTS = 8;
export const MAX_VIDEO_SEGMENTS = 64;
/** Frames of all videos in one request. */
export const MAX_FRAMES = 128;
/** Largest video file, in bytes: what arrives is held by the edge until its frames are cut. */
export const MAX_VIDEO_BYTES = 64 * 1024 * 1024;
/** Most pixels of one frame: 4K, the cinema's 4096x2160 too. */
export const MAX_VIDEO_PIXELS = 9_000_000;
/** Most frames of a video: an hour at 30 a second. */
export const MAX_VIDEO_FRAMES = 108_000;
/** Longest time to decode a video, its frames taken by the edge meanwhile. */
export const MAX_VIDEO_MS = 120_000;
/** Videos a worker decodes at once; each costs a core, which the model wants too. */
export const MAX_VIDEO_SESSIONS = 2;
/** How long a worker keeps a video about which the edge says nothing. */
export const VIDEO_IDLE_MS = 20_000;
/** How long an edge looks for a worker with room for a video, and how long for the answer to one message about it. */
export const VIDEO_ROOM_MS = 15_000;
export const VIDEO_REPLY_MS = 10_000;
/** Workers an edge tries with one video: one may die meanwhile. */
export const VIDEO_ATTEMPTS = 3;
/** What an edge keeps of videos for the next round, in bytes of tiles: six of eight frames at 448 pixels. */
export const MAX_KEPT_VIDEO_BYTES = 32 * 1024 * 1024;
/** Tiles of all pictures in one request. */
export const MAX_TILES = 256;
/** Requests in one batch, and how many of them an edge has under way at once. */
export const MAX_BATCH_REQUESTS = 256;
export const BATCH_CONCURRENCY = 8;
/** Messages in one request. */
export const MAX_MESSAGES = 512;
/** Characters of text in one request, all messages together. */
export const MAX_TEXT_CHARS = 1_000_000;
/** Stop strings in one request, and the length of each. */
export const MAX_STOP_STRINGS = 16;
export const MAX_STOP_CHARS = 256;
/** Token ids that end an answer, in one request; each is compared with every token. */
export const MAX_STOP_TOKEN_IDS = 64;
/** Answers to one prompt: as many as the sequences a worker of default size runs, twice. */
export const MAX_CHOICES = 32;
/** Alternatives told with each token, as OpenAI's. */
export const MAX_TOP_LOGPROBS = 20;
/** Biased token ids in one request; the list goes to the engine with every token. */
export const MAX_LOGIT_BIAS = 1_024;
/** Largest `repetition_penalty`; the weights make nothing of it beyond about 2. */
export const MAX_REPETITION_PENALTY = 100;
/** Smallest one: logits are divided by it, in single precision. */
export const MIN_REPETITION_PENALTY = 0.01;
/** Priorities go from minus to plus this. */
export const MAX_PRIORITY = 1_000;
/** Longest `cache_salt`; 43 characters hold 256 bits. */
export const MAX_CACHE_SALT_CHARS = 256;

/** Jobs that may wait in the live stream; above it the edge answers 429. */
export const MAX_QUEUED_JOBS = 10_000;
/**
 * Jobs of an edge and model that may wait in the stream before a worker claims one, as a share of the workers' places:
 * enough that a place that becomes free is taken at once. All others wait at their edge, where the next is chosen.
 */
export const AHEAD_SHARE = 0.25;
export const MIN_AHEAD = 4;
/** Ids an answer without a `max_tokens` is taken to have when shares of waiting jobs are counted. */
export const USUAL_ANSWER_TOKENS = 256;
/** Share of the server's max_payload a message may fill; the rest is for headers and protocol. */
export const PAYLOAD_FRACTION = 0.95;

/** How often a worker renews its announcement, and how long one lives without renewal. */
export const HEARTBEAT_MS = 2_000;
export const ANNOUNCEMENT_TTL_MS = 8_000;
/** How long a worker has to acknowledge what it has answered; one that died meanwhile is known to be gone by then. */
export const LEFTOVER_WAIT_MS = 2 * ANNOUNCEMENT_TTL_MS;
/** A worker says it is still at a job at least this often: to the edge as an event, to JetStream as an ack extension. */
export const PROGRESS_MS = 2_000;
/** JetStream hands a job to another worker after this long without progress. */
export const ACK_WAIT_MS = 10_000;
/** Times one job is handed out before it is given up. */
export const MAX_DELIVER = 3;
/**
 * Attempts in a row that may end with their worker before the job counts as their cause: the first, and two more. One
 * that brought new tokens starts the count anew, because what ends workers does so again at the same place.
 */
export const MAX_LOST_ATTEMPTS = 3;
/** Lost attempts of one job in all, tokens or not: an end for a job that takes a worker with it at every step. */
export const MAX_LOST_IN_ALL = 10;
/** Attempts of one publication; what is published again counts on from there, so that no two share a number. */
export const ATTEMPTS_PER_PUBLICATION = 100;
/** How long a claimed job is silent before the edge asks whether its worker lives. Half a progress: no answer is slow. */
export const PROBE_MS = PROGRESS_MS / 2;
/** How long the one asked has to answer. Somebody gone is told by the server at once; this bounds a server that hangs. */
export const PROBE_TIMEOUT_MS = 2_000;
/** A claimed job that is silent for so long is published again: JetStream must have handed it out by then, or lost it. */
export const LOST_MS = 2 * ACK_WAIT_MS;
/** How long a worker finds nobody listening for an edge before it cancels that edge's jobs; an edge reconnects in less. */
export const EDGE_GONE_MS = 5_000;
/** Least urgent a durable job can be asked to be: within a worker, whatever a client waits for goes first. */
export const DURABLE_PRIORITY = 50;
/** And a request of a batch: behind captions, for whose end somebody waits. */
export const BATCH_PRIORITY = 100;
/** Durable jobs that may wait; above it a submission is refused with 429. */
export const MAX_DURABLE_JOBS = 100_000;
/** Longest life of a durable job and its tiles: what is not done by then is not worth doing. */
export const DURABLE_MAX_AGE_MS = 24 * 3_600_000;
/** How long the state of a durable job, its answer included, is kept after its last change. */
export const RECORD_MAX_AGE_MS = 7 * 24 * 3_600_000;
/** Requests of one batch file, and characters of a `custom_id`, as OpenAI's; faults of a file that are told. */
export const MAX_BATCH_LINES = 50_000;
export const MAX_CUSTOM_ID_CHARS = 256;
export const MAX_BATCH_FAULTS = 100;
/** How long a batch may take: the only window OpenAI has. Its place in the queue is kept twice as long. */
export const BATCH_WINDOW_MS = 24 * 3_600_000;
/** Requests of one batch that wait as durable jobs: enough for a worker's idle places, few enough to cancel quickly. */
export const BATCH_IN_FLIGHT = 16;
/** Log-probabilities of one request of a batch, alternatives counted: they are kept in its state, which is one message. */
export const MAX_KEPT_LOGPROBS = 8_192;
/** Batches one edge runs at once; others wait for it, or for another edge. */
export const BATCHES_PER_EDGE = 2;
/** An edge says so often that it still runs a batch; after that long without a word another one takes it. */
export const BATCH_HEARTBEAT_MS = 5_000;
export const BATCH_ACK_WAIT_MS = 3 * BATCH_HEARTBEAT_MS;
/** What became of running batches' requests; NATS reserves the bytes on disk. */
export const BATCH_RESULTS_MAX_BYTES = 512 * 1024 * 1024;
/** Longest wait for a caption that one request may ask for; and the shortest time its job may be given. */
export const MAX_PREFER_WAIT_MS = 60_000;
export const MIN_CANCEL_AFTER_MS = 5_000;
/** How often an edge forgets files and captions that are too old. */
export const SWEEP_RECORDS_MS = 30 * 60_000;
/** Bytes of tiles that wait with durable jobs; NATS reserves them on disk. */
export const MAX_STORED_TILE_BYTES = 1024 * 1024 * 1024;
/** News of durable jobs: kept as long as their states, at most so many bytes. */
export const NEWS_MAX_BYTES = 256 * 1024 * 1024;
/** Tiles of a durable job that are stored, or fetched, at the same time: enough to hide the round trips. */
export const TILES_IN_FLIGHT = 8;
/** Times a state is read and written again when someone else has changed it in between. */
export const MAX_RECORD_RETRIES = 8;
/** After an interactive job came, how long a worker asks for no durable one: more of the kind may follow. */
export const LIVE_FIRST_MS = 50;
/** Share of a worker's places that durable jobs may take; the rest is for interactive ones to find at once. */
export const DURABLE_SHARE = 0.75;
/** Largest file kept for later requests, as OpenAI's for batches. */
export const MAX_FILE_BYTES = 200 * 1024 * 1024;
/** Files of one API key: enough for a batch of pictures, few enough to be listed. */
export const MAX_FILES = 10_000;
/** How long a file is kept at most, and the shortest time a request may ask for, as OpenAI's. */
export const FILE_MAX_AGE_MS = 30 * 24 * 3_600_000;
export const MIN_FILE_AGE_MS = 3_600_000;
/** Bytes of all files; NATS reserves them on disk. */
export const FILES_MAX_BYTES = 2 * 1024 * 1024 * 1024;
/** A file is stored, and read, in pieces of this size: eight of them are all that an edge holds of it. */
export const FILE_PIECE_BYTES = 256 * 1024;
export const FILE_PIECES_IN_FLIGHT = 8;
/** Longest name of a file, in characters. */
export const MAX_FILENAME_CHARS = 512;
/** Longest time to read a form with files, and longest silence in between. */
export const UPLOAD_TIMEOUT_MS = 15 * 60_000;
export const UPLOAD_IDLE_MS = 30_000;
/** How long a stream can be taken up again after its events: long enough for a phone to come back from a tunnel. */
export const ANSWER_MAX_AGE_MS = 5 * 60_000;
/** Memory that kept streams may take in nats-server; the oldest events go first. */
export const ANSWERS_MAX_BYTES = 256 * 1024 * 1024;
/** How long an Idempotency-Key is known, as is usual. */
export const REQUEST_MAX_AGE_MS = 24 * 3_600_000;
/** Largest answer kept under an Idempotency-Key, in characters: with its frame it fits a message of 1 MB. */
export const MAX_KEPT_BODY_BYTES = 512 * 1024;
/** How long an API key's use is told by day and month: a year and the month before it. */
export const USAGE_MAX_AGE_MS = 400 * 24 * 3_600_000;
/** How long the counts of a minute stay: until after the next, in which they may still be asked for. */
export const PACE_MAX_AGE_MS = 3 * 60_000;
/** How long a request waits for its key's counters; without them it goes on, since work is worth more than a count. */
export const METER_TIMEOUT_MS = 1_000;
/** How long an edge's places for an API key's requests hold when it says nothing more: then it counts as gone. */
export const KEY_LEASE_MS = 9_000;
/** Longest wait a client that was refused is asked for: what comes later cannot be foreseen. */
export const MAX_RETRY_AFTER_S = 60;
/** How far back the pace is measured at which places become free. */
export const TURNOVER_WINDOW_MS = 30_000;
/** How long a job waits for the worker that has its picture before any other may take it: a few claims' time. */
export const ROUTE_WAIT_MS = 100;
/** A worker is preferred only while it has at most this multiple of its share of the load of its model's workers. */
export const ROUTE_LOAD_BOUND = 1.5;
/** How long the queue of a worker that is gone stays. */
export const WORKER_QUEUE_TTL_MS = 30_000;
/** Parked jobs: kept so long for whoever looks into them, and at most so many bytes. */
export const DEAD_MAX_AGE_MS = 7 * 24 * 3_600_000;
export const DEAD_MAX_BYTES = 256 * 1024 * 1024;
/** How long a worker has had nothing to do when it looks over its books: after the pauses between two requests. */
export const IDLE_CHECK_MS = 20;
/** How long a worker waits for an edge to answer a claim. */
export const CLAIM_TIMEOUT_MS = 5_000;
/** How long a worker waits for the next missing tile. */
export const TILE_TIMEOUT_MS = 15_000;
/** How long a job that has begun waits while no worker of its model lives: time to start one again and load its model. */
export const RESTART_MS = 60_000;
/** How long an edge hears nothing of a claimed job before it counts the worker as lost (a redelivery may still come). */
export const SILENCE_MS = 4 * PROGRESS_MS;
/** How long a job lives from its acceptance when the request names no deadline. */
export const DEFAULT_DEADLINE_MS = 10 * 60_000;

/** How long a stream to a client stays without bytes before a keep-alive comment goes out. */
export const KEEP_ALIVE_MS = 10_000;
/** How long a client may leave a stream unread before it counts as gone. */
export const STALL_MS = 120_000;
/** How long an unclaimed job waits while no worker of its model is alive. */
export const NO_WORKER_MS = CLAIM_TIMEOUT_MS;
/** How long the edge waits for JetStream to store a job. */
export const PUBLISH_TIMEOUT_MS = 5_000;
/** Longest time to read a request body, and to fetch one picture. */
export const BODY_TIMEOUT_MS = 60_000;
export const FETCH_TIMEOUT_MS = 20_000;
export const VIDEO_FETCH_TIMEOUT_MS = 60_000;
/** Largest event of a source, in bytes, and most pictures it may tell of. */
export const MAX_HOOK_BYTES = 1024 * 1024;
export const MAX_HOOK_ITEMS = 64;
/** How far the time of a signed event may be from ours, as Standard Webhooks have it. */
export const HOOK_TOLERANCE_MS = 5 * 60_000;
/** How long a signed URL of a private object holds: for the download that follows at once. */
export const HOOK_URL_SECONDS = 300;
/** Pictures of one event that are fetched and cut at the same time. */
export const HOOK_CONCURRENCY = 4;
/** When a webhook that was not taken is tried again, each time counted from the last; then it is a dead letter. */
export const WEBHOOK_SCHEDULE_MS = [5_000, 30_000, 120_000, 600_000, 3_600_000, 6 * 3_600_000, 24 * 3_600_000];
/** Each wait is longer or shorter by up to this share, so that what failed together does not come back together. */
export const WEBHOOK_JITTER = 0.2;
/** Longest wait that a receiver's Retry-After may ask for. */
export const MAX_WEBHOOK_RETRY_AFTER_MS = 24 * 3_600_000;
/** Longest time of one attempt, and the most that is read of its answer. */
export const WEBHOOK_TIMEOUT_MS = 15_000;
export const MAX_WEBHOOK_ANSWER_BYTES = 16 * 1024;
/** Attempts of one deliverer at once, and of them to one host. */
export const WEBHOOK_CONCURRENCY = 64;
export const WEBHOOK_HOST_CONCURRENCY = 4;
/** A webhook whose deliverer says nothing for so long is handed to another. */
export const WEBHOOK_ACK_WAIT_MS = 30_000;
/** Webhooks that may wait; above it news wait in their own stream. */
export const MAX_QUEUED_WEBHOOKS = 100_000;
/** Attempts of one delivery that are told, the latest of them. */
export const MAX_KEPT_ATTEMPTS = 20;
/** Largest body of a webhook; what does not fit is sent as its id alone. */
export const MAX_WEBHOOK_BYTES = 256 * 1024;
/** Redirects followed for one picture. */
export const MAX_REDIRECTS = 3;
/** Longest URL that is connected to; browsers and proxies take no longer ones. */
export const MAX_URL_CHARS = 8_192;
/** Addresses of one host name that are looked at. */
export const MAX_ADDRESSES = 16;
/** Head of an answer from where a user pointed, in bytes. */
export const MAX_RESPONSE_HEADER_BYTES = 16 * 1024;
/** Pictures of one request that are fetched and tiled at the same time. */
export const IMAGE_CONCURRENCY = 4;
/** Text an answer may pile up for a client that does not read, in characters; above it the job is cancelled. */
export const MAX_UNREAD_CHARS = 4 * 1024 * 1024;

/** How long an edge waits for a worker's count, and how many a worker makes at once: a million characters take a second. */
export const TOKENIZE_TIMEOUT_MS = 15_000;
export const MAX_TOKENIZING = 16;

/** A checkpoint's tokenizer or configuration: the largest published have 11 MB, a larger one is read into memory in vain. */
export const MAX_CHECKPOINT_FILE_BYTES = 256 * 1024 * 1024;
/** Ids of tokens are below this, as the engine's vocabularies are; they index arrays. */
export const MAX_TOKEN_IDS = 1 << 24;

/** Weights of fewer bytes than this are packed each time: that takes less than looking for them. */
export const MIN_CACHED_WEIGHT_BYTES = 64 * 1024 * 1024;

/** Checkpoint downloads: longest silence of a connection, and tries in a row that bring nothing new. */
export const PULL_STALL_MS = 30_000;
export const PULL_MAX_TRIES = 6;
/** Longest pause between tries, whatever the server asks for: longer ones are told to the user instead. */
export const PULL_MAX_PAUSE_MS = 120_000;

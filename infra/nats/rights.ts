/** Who may do what on the bus of a fleet: the one place. `write_fleet_conf.ts` makes the server's configuration of it. */
import {
  ANSWERS_STREAM,
  ANSWERS_WILDCARD,
  BATCH_RESULTS_STREAM,
  BATCH_RESULTS_WILDCARD,
  BATCHES_BUCKET,
  BATCHES_STREAM,
  BATCHES_WILDCARD,
  CANCEL_WILDCARD,
  CAPTIONS_BUCKET,
  DEAD_STREAM,
  DEAD_WILDCARD,
  DELIVERIES_BUCKET,
  DURABLE_JOBS_WILDCARD,
  DURABLE_STREAM,
  FILE_RECORDS_BUCKET,
  FILES_BUCKET,
  HOOK_EVENTS_BUCKET,
  JOBS_BUCKET,
  KEYS_BUCKET,
  LIVE_GIVEN_UP,
  LIVE_JOBS_WILDCARD,
  LIVE_STREAM,
  NEWS_STREAM,
  NEWS_WILDCARD,
  objectStream,
  PACE_STREAM,
  PACE_WILDCARD,
  PLACES_STREAM,
  PLACES_WILDCARD,
  REQUESTS_BUCKET,
  SIGNING_BUCKET,
  TILES_STREAM,
  TILES_WILDCARD,
  UNDELIVERED_BUCKET,
  USAGE_STREAM,
  USAGE_WILDCARD,
  WEBHOOKS_STREAM,
  WEBHOOKS_WILDCARD,
  WORKERS_BUCKET,
} from "@tessera/shared";

/** Rights of a kind of process. In a subject `{user}` stands for the name of its NATS user. */
export interface Rights {
  /** What it may have kept, and ask of JetStream: served by the account STORE. */
  readonly store: readonly string[];
  /** Subjects on which it hears what STORE says of itself. */
  readonly storeTells: readonly string[];
  /** What it may ask those of the other kind, each question with one answer. */
  readonly asks: readonly string[];
  /** What it may tell those of the other kind, without an answer. */
  readonly tells: readonly string[];
  /** What it may ask others of its own kind. */
  readonly asksOwn: readonly string[];
  /** What it hears: of all that others ask and tell, this. Its inbox comes on top. */
  readonly hears: readonly string[];
}

/** A stream made where it is missing. */
const makes = (stream: string) => [`$JS.API.STREAM.CREATE.${stream}`, `$JS.API.STREAM.INFO.${stream}`];
/** The stream of a bucket. */
const kv = (bucket: string) => `KV_${bucket}`;
const writesBucket = (bucket: string) => [...makes(kv(bucket)), `$KV.${bucket}.>`];
const reads = (stream: string) => [`$JS.API.DIRECT.GET.${stream}.>`];
/** Listens to a bucket's changes, through a consumer of its own. */
const watches = (bucket: string) => [
  `$JS.API.CONSUMER.CREATE.${kv(bucket)}.>`,
  `$JS.API.CONSUMER.DELETE.${kv(bucket)}.*`,
  `$JS.FC.${kv(bucket)}.>`,
];
/** Reads a stream in order, through a consumer of its own. */
const readsInOrder = (stream: string) => [
  `$JS.API.CONSUMER.CREATE.${stream}`,
  `$JS.API.CONSUMER.CREATE.${stream}.>`,
  `$JS.API.CONSUMER.DELETE.${stream}.*`,
  `$JS.API.CONSUMER.INFO.${stream}.*`,
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
];
/** Keeps records that belong to somebody, and forgets them without a trace. */
const keepsRecords = (bucket: string) => [
  ...writesBucket(bucket),
  ...reads(kv(bucket)),
  `$JS.API.STREAM.PURGE.${kv(bucket)}`,
];
/** Keeps objects. */
const keepsObjects = (bucket: string) => [
  ...makes(objectStream(bucket)),
  `$O.${bucket}.>`,
  `$JS.API.STREAM.MSG.GET.${objectStream(bucket)}`,
  ...reads(objectStream(bucket)),
  `$JS.API.STREAM.PURGE.${objectStream(bucket)}`,
  ...readsInOrder(objectStream(bucket)),
];
/** Takes jobs through a consumer that is made where it is missing. */
const pulls = (stream: string) => [
  `$JS.API.CONSUMER.CREATE.${stream}.>`,
  `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.*`,
  `$JS.API.CONSUMER.INFO.${stream}.*`,
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
  `$JS.ACK.${stream}.>`,
];

export const RIGHTS: { readonly edge: Rights; readonly worker: Rights; readonly deliverer: Rights } = {
  edge: {
    store: [
      "$JS.API.INFO",
      // Jobs, and taking one out again.
      ...makes(LIVE_STREAM),
      LIVE_JOBS_WILDCARD,
      `$JS.API.STREAM.MSG.DELETE.${LIVE_STREAM}`,
      // Jobs that last.
      ...makes(DURABLE_STREAM),
      DURABLE_JOBS_WILDCARD,
      `$JS.API.STREAM.PURGE.${DURABLE_STREAM}`,
      ...makes(TILES_STREAM),
      TILES_WILDCARD,
      `$JS.API.STREAM.PURGE.${TILES_STREAM}`,
      ...writesBucket(JOBS_BUCKET),
      ...reads(kv(JOBS_BUCKET)),
      ...watches(JOBS_BUCKET),
      ...makes(NEWS_STREAM),
      NEWS_WILDCARD,
      ...makes(DEAD_STREAM),
      DEAD_WILDCARD,
      // Which workers there are.
      ...makes(kv(WORKERS_BUCKET)),
      ...watches(WORKERS_BUCKET),
      // API keys, which it cannot make, and what they use.
      ...makes(kv(KEYS_BUCKET)),
      ...watches(KEYS_BUCKET),
      ...makes(USAGE_STREAM),
      USAGE_WILDCARD,
      ...reads(USAGE_STREAM),
      ...makes(PACE_STREAM),
      PACE_WILDCARD,
      ...reads(PACE_STREAM),
      ...makes(PLACES_STREAM),
      PLACES_WILDCARD,
      // All leases of a key, asked for by the body of the question.
      `$JS.API.DIRECT.GET.${PLACES_STREAM}`,
      // Answers that can be taken up again, and idempotency keys.
      ...makes(ANSWERS_STREAM),
      ANSWERS_WILDCARD,
      ...readsInOrder(ANSWERS_STREAM),
      ...writesBucket(REQUESTS_BUCKET),
      ...reads(kv(REQUESTS_BUCKET)),
      // Files for later requests.
      ...keepsObjects(FILES_BUCKET),
      ...keepsRecords(FILE_RECORDS_BUCKET),
      // Webhooks that are asked for again, and what became of them.
      ...makes(WEBHOOKS_STREAM),
      WEBHOOKS_WILDCARD,
      `$JS.API.STREAM.PURGE.${WEBHOOKS_STREAM}`,
      // What they are signed with, sealed.
      ...keepsRecords(SIGNING_BUCKET),
      // Events of sources that were heard.
      ...keepsRecords(HOOK_EVENTS_BUCKET),
      ...keepsRecords(DELIVERIES_BUCKET),
      ...keepsRecords(UNDELIVERED_BUCKET),
      ...keepsRecords(CAPTIONS_BUCKET),
      // Batches: the queue of those to run, and what became of their requests.
      ...keepsRecords(BATCHES_BUCKET),
      ...makes(BATCHES_STREAM),
      BATCHES_WILDCARD,
      ...pulls(BATCHES_STREAM),
      ...makes(BATCH_RESULTS_STREAM),
      BATCH_RESULTS_WILDCARD,
      ...reads(BATCH_RESULTS_STREAM),
      `$JS.API.STREAM.PURGE.${BATCH_RESULTS_STREAM}`,
    ],
    storeTells: [LIVE_GIVEN_UP],
    asks: ["tessera.worker.*.*.alive", "tessera.tokenize.*", "tessera.media.>"],
    tells: ["tessera.worker.*.*.tiles.*", CANCEL_WILDCARD],
    asksOwn: ["tessera.edge.*.*.alive"],
    hears: ["tessera.edge.{user}.>"],
  },
  worker: {
    store: [
      "$JS.API.INFO",
      ...makes(LIVE_STREAM),
      ...pulls(LIVE_STREAM),
      ...makes(DURABLE_STREAM),
      ...pulls(DURABLE_STREAM),
      ...makes(TILES_STREAM),
      ...reads(TILES_STREAM),
      `$JS.API.STREAM.PURGE.${TILES_STREAM}`,
      ...writesBucket(JOBS_BUCKET),
      ...reads(kv(JOBS_BUCKET)),
      ...makes(NEWS_STREAM),
      NEWS_WILDCARD,
      ...makes(DEAD_STREAM),
      DEAD_WILDCARD,
      ...writesBucket(WORKERS_BUCKET),
    ],
    storeTells: [],
    asks: ["tessera.edge.*.*.claim.*", "tessera.edge.*.*.alive"],
    tells: ["tessera.edge.*.*.events.*"],
    asksOwn: [],
    hears: ["tessera.worker.{user}.>", "tessera.tokenize.*", "tessera.media.>", CANCEL_WILDCARD],
  },
  deliverer: {
    store: [
      "$JS.API.INFO",
      ...makes(NEWS_STREAM),
      ...pulls(NEWS_STREAM),
      ...makes(WEBHOOKS_STREAM),
      WEBHOOKS_WILDCARD,
      ...pulls(WEBHOOKS_STREAM),
      // The next of a caption's, asked for by the body of the question.
      `$JS.API.DIRECT.GET.${WEBHOOKS_STREAM}`,
      ...keepsRecords(DELIVERIES_BUCKET),
      ...keepsRecords(UNDELIVERED_BUCKET),
      ...keepsRecords(SIGNING_BUCKET),
      ...makes(kv(JOBS_BUCKET)),
      ...reads(kv(JOBS_BUCKET)),
      ...makes(kv(CAPTIONS_BUCKET)),
      ...reads(kv(CAPTIONS_BUCKET)),
    ],
    storeTells: [],
    asks: [],
    tells: [],
    asksOwn: [],
    hears: [],
  },
};

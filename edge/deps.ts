/** What the routes work with: the parts of an edge, made once by startEdge. */
import { type Logger, TesseraError } from "@tessera/shared";
import type { Context } from "hono";
import type { Admission, Ticket } from "./admission.ts";
import type { Caller } from "./auth/caller.ts";
import type { Gate } from "./auth/gate.ts";
import type { KeyRing } from "./auth/key_ring.ts";
import type { Meter } from "./auth/meter.ts";
import type { Batches } from "./batches/batches.ts";
import type { BatchResults } from "./batches/results.ts";
import type { Captions } from "./captions/captions.ts";
import type { EdgeConfig } from "./config.ts";
import type { Bus } from "./dispatch/bus.ts";
import type { Dispatcher } from "./dispatch/dispatcher.ts";
import type { WorkerDirectory } from "./dispatch/directory.ts";
import { type FileStore, resolveFile } from "./files/file_store.ts";
import type { DurableJobs } from "./jobs/durable_jobs.ts";
import type { LoaderOptions } from "./media/load_pictures.ts";
import type { EdgeMetrics } from "./metrics/metrics.ts";
import type { Answers } from "./resume/answers.ts";
import type { Idempotency } from "./resume/idempotency.ts";
import type { FetchSettings } from "./media/picture_bytes.ts";
import type { VideoMemory } from "./media/video_memory.ts";
import { takeFrames } from "./media/video_frames.ts";
import type { OutboundSettings } from "./outbound/request.ts";
import type { TilePool } from "./tile/mod.ts";
import type { SigningSecrets } from "./webhooks/signing_secrets.ts";
import type { Webhooks } from "./webhooks/webhooks.ts";

export interface EdgeDeps {
  readonly config: EdgeConfig;
  readonly log: Logger;
  readonly gate: Gate;
  readonly keys: KeyRing;
  readonly meter: Meter;
  readonly admission: Admission;
  readonly bus: Bus;
  readonly directory: WorkerDirectory;
  readonly dispatcher: Dispatcher;
  readonly tilePool: TilePool;
  readonly metrics: EdgeMetrics;
  readonly videoMemory: VideoMemory;
  /** Answers that can be taken up again. */
  readonly answers: Answers;
  readonly idempotency: Idempotency;
  /** How what users point at is connected to. */
  readonly outbound: OutboundSettings;
  readonly jobs: DurableJobs;
  readonly captions: Captions;
  /** What became of captions' webhooks. */
  readonly webhooks: Webhooks;
  /** What webhooks are signed with, owner by owner. */
  readonly signing: SigningSecrets;
  readonly batches: Batches;
  readonly results: BatchResults;
  /** Files kept for later requests. */
  readonly files: FileStore;
}

/** What app.ts hands to every route. */
export interface EdgeContext {
  readonly Variables: {
    readonly requestId: string;
    /** performance.now() when the request came. */
    readonly requestedAt: number;
    readonly caller: Caller;
    /** Carries the request id. */
    readonly log: Logger;
  };
}

/**
 * The request's place among those that run, here and of its key.
 * @throws TesseraError `shutting_down` or `rate_limited`
 */
export async function admitted(
  { admission, gate }: EdgeDeps,
  { var: { caller } }: Context<EdgeContext>,
): Promise<Ticket> {
  const ticket = admission.admit(caller.tenant);
  try {
    const leave = await gate.enter(caller);
    return {
      ...ticket,
      close: () => {
        ticket.close();
        leave();
      },
    };
  } catch (error) {
    ticket.close();
    throw error;
  }
}

/** How the pictures of an owner's request are fetched. */
export function fetchSettings({ config, outbound, files }: EdgeDeps, owner: string): FetchSettings {
  return {
    outbound,
    fetchMs: config.waits.fetchMs,
    readFile: async (id, param, hold) => {
      try {
        return (await resolveFile(files, owner, id, hold)).bytes;
      } catch (error) {
        if (!(error instanceof TesseraError) || error.code !== "not_found") throw error;
        throw new TesseraError("file_not_found", { message: error.message, param });
      }
    },
  };
}

/** How pictures and videos become tiles. */
export function loaderOptions(deps: EdgeDeps, owner: string): LoaderOptions {
  const { bus, tilePool, videoMemory } = deps;
  return {
    pool: tilePool,
    videoMemory,
    ...fetchSettings(deps, owner),
    takeFrames: (request, taker) => takeFrames(bus.connection, bus.maxPayload, request, taker),
  };
}

/** Owns the reports of progress, to JetStream and to the edges, so that nobody takes a job for lost; and who is away meanwhile. */
import { SLEPT_PERIODS } from "@tessera/shared";
import type { EdgeWatch } from "./edge_watch.ts";
import type { Link } from "./link.ts";
import type { LiveJob } from "./live_job.ts";

export interface ProgressOptions {
  readonly jobs: () => Iterable<LiveJob>;
  readonly link: Link;
  readonly edges: EdgeWatch;
  readonly everyMs: number;
  /** This process was stopped for a while: others may have its jobs by now. */
  readonly onAway: () => void;
}

export class Progress {
  readonly #options: ProgressOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  #reportedAt = performance.now();

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#report(), options.everyMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #report(): void {
    const { link, edges, everyMs, onAway } = this.#options;
    const now = performance.now();
    const wasAway = now - this.#reportedAt > SLEPT_PERIODS * everyMs;
    this.#reportedAt = now;
    if (!link.isUp) return;
    if (wasAway) onAway();
    const jobs = [...this.#options.jobs()];
    edges.check(jobs.flatMap(({ job, channel }) => channel.isLive ? [job.edge_id] : []));
    for (const job of jobs) {
      job.delivery.working();
      if (job.grant === null) continue;
      if (!job.hasSpoken) job.grant.events.progress();
      job.hasSpoken = false;
      // Fails when the connection breaks meanwhile; then everything unconfirmed is repeated.
      job.grant.events.confirm().catch(() => {});
    }
  }
}

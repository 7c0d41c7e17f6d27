/** How fast an edge answers, for `tessera top`: rates and times between two readings of its /metrics. */
import { getText } from "./client.ts";

/** Over how long rates and times are told: a few answers of any model. */
const WINDOW_MS = 10_000;

/** Values by series, `name{label="value"}` as Prometheus prints it. */
type Series = ReadonlyMap<string, number>;

/** The lines of a text in Prometheus' format. */
export function parseMetrics(text: string): Series {
  const series = new Map<string, number>();
  for (const line of text.split("\n")) {
    const at = line.lastIndexOf(" ");
    if (at > 0 && !line.startsWith("#")) series.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return series;
}

export class Pace {
  readonly #readings: { readonly at: number; readonly series: Series }[] = [];

  /** Reads the edge's metrics; null where it does not show them to us. */
  async read(url: string): Promise<string | null> {
    const text = await getText(url, "/metrics").catch(() => null);
    return text === null ? null : this.add(parseMetrics(text), performance.now());
  }

  /** One line about the time since the oldest reading of the window; since the edge's start where this is the first. */
  add(series: Series, at: number): string {
    const readings = this.#readings;
    // Another edge behind the same address, or this one started anew, counts from elsewhere.
    const requests = (of: Series) => sum(of, "tessera_requests_total", "");
    if (readings.length > 0 && requests(series) < requests(readings.at(-1)!.series)) readings.length = 0;
    readings.push({ at, series });
    while (readings.length > 2 && at - readings[1]!.at >= WINDOW_MS) readings.shift();
    const { at: from, series: before } = readings[0]!;
    const seconds = (at - from) / 1_000;
    const since: Series = seconds === 0 ? new Map() : before;
    const grown = (name: string, labels = "") => sum(series, name, labels) - sum(since, name, labels);
    const pace = (name: string, labels?: string) =>
      seconds === 0 ? String(grown(name, labels)) : (grown(name, labels) / seconds).toFixed(1);
    const per = seconds === 0 ? "" : "/s";
    const times = (stage: string) => {
      const buckets = bucketsOf(series, since, stage);
      return buckets.length === 0 ? "-" : [0.5, 0.9].map((share) => milliseconds(quantile(buckets, share))).join(" / ");
    };
    return [
      `${pace("tessera_answers_total")} answers${per}`,
      `${pace("tessera_tokens_total", 'kind="output"')} tokens${per}`,
      `${pace("tessera_refusals_total")} refusals${per}`,
      `${sum(series, "tessera_jobs_waiting", "")} waiting`,
      `first token ${times("first_token")}`,
      `whole ${times("total")} ms (half, nine in ten)`,
    ].join("  ");
  }
}

function sum(series: Series, name: string, labels: string): number {
  let total = 0;
  for (const [key, value] of series) {
    if ((key === name || key.startsWith(`${name}{`)) && key.includes(labels)) total += value;
  }
  return total;
}

/** Answers that took up to so many seconds, ascending; none where there were no answers. */
function bucketsOf(series: Series, since: Series, stage: string): (readonly [upTo: number, count: number])[] {
  const buckets: [number, number][] = [];
  for (const [key, value] of series) {
    if (!key.startsWith("tessera_stage_seconds_bucket{") || !key.includes(`stage="${stage}"`)) continue;
    const upTo = /le="([^"]+)"/.exec(key)![1]!;
    buckets.push([upTo === "+Inf" ? Infinity : Number(upTo), value - (since.get(key) ?? 0)]);
  }
  buckets.sort(([a], [b]) => a - b);
  return (buckets.at(-1)?.[1] ?? 0) > 0 ? buckets : [];
}

/** Seconds, by line within a bucket, as Prometheus' `histogram_quantile` has it; the last bound where it lies beyond. */
function quantile(buckets: readonly (readonly [upTo: number, count: number])[], share: number): number {
  const rank = share * buckets.at(-1)![1];
  const at = buckets.findIndex(([, count]) => count >= rank);
  const [low, below] = at === 0 ? [0, 0] as const : buckets[at - 1]!;
  const [high, count] = buckets[at]!;
  return Number.isFinite(high) ? low + (high - low) * (rank - below) / (count - below) : low;
}

function milliseconds(seconds: number): string {
  return (seconds * 1_000).toFixed(seconds < 0.01 ? 1 : 0);
}

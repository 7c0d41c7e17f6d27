/** What API keys use, counted by nats-server for all edges together: by minute for limits, by day and month for people. */
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { headers, type NatsConnection } from "@nats-io/nats-core";
import {
  type ApiKey,
  ensureStream,
  type Logger,
  METER_TIMEOUT_MS,
  PACE_STREAM,
  PACE_STREAM_CONFIG,
  paceSubject,
  TesseraError,
  type Usage,
  USAGE_STREAM,
  USAGE_STREAM_CONFIG,
  usageOf,
  usageSubject,
} from "@tessera/shared";
import type { Bus } from "../dispatch/bus.ts";

/** The header by which a message is added to its subject's counter. */
const INCREMENT = "Nats-Incr";
const MESSAGE_ID = "Nats-Msg-Id";
const NO_MESSAGE = 10037;

export const USAGE_FIELDS = ["requests", "input_tokens", "cached_tokens", "output_tokens", "image_tokens"] as const;
export type UsageField = (typeof USAGE_FIELDS)[number];
export type UsageCounts = Readonly<Record<UsageField, number>>;

/** Where a key stands in the running minute and month; null where it has no limit. */
export interface Standing {
  readonly minute: number;
  /** With this request. */
  readonly requests: number | null;
  readonly tokens: number | null;
  readonly monthTokens: number | null;
}

export class Meter {
  readonly #bus: Bus;
  readonly #log: Logger;
  #ready: { readonly nc: NatsConnection; readonly opened: Promise<JetStreamManager> } | null = null;

  constructor(bus: Bus, log: Logger) {
    this.#bus = bus;
    this.#log = log;
  }

  /** Counts requests and reads where its key stands. Null when that cannot be had now. */
  async take({ id, limits }: ApiKey, now: number, numRequests: number): Promise<Standing | null> {
    const minute = minuteOf(now);
    try {
      const [requests, tokens, monthTokens] = await Promise.all([
        limits.requests_per_minute === null ? null : this.#add(paceSubject(id, minute, "requests"), numRequests),
        limits.tokens_per_minute === null ? null : this.#read(PACE_STREAM, paceSubject(id, minute, "tokens")),
        limits.tokens_per_month === null ? null : this.#read(USAGE_STREAM, usageSubject(id, monthOf(now), "tokens")),
      ]);
      return { minute, requests, tokens, monthTokens };
    } catch (error) {
      this.#log.warn("meter_unreadable", { key_id: id, error });
      return null;
    }
  }

  /**
   * Adds an answer to what its key used. Never throws.
   * @param answerId whose it is; told again within two minutes, as when an edge died in between, it is not counted again
   */
  async record(keyId: string, usage: Usage, now: number, answerId: string): Promise<void> {
    const { prompt_tokens: input, completion_tokens: output } = usage;
    const counts: UsageCounts = {
      requests: 1,
      input_tokens: input,
      cached_tokens: usage.cached_tokens,
      output_tokens: output,
      image_tokens: usage.image_tokens,
    };
    try {
      await Promise.all([
        this.#add(paceSubject(keyId, minuteOf(now), "tokens"), input + output, answerId),
        this.#add(usageSubject(keyId, monthOf(now), "tokens"), input + output, `${answerId}.month`),
        ...USAGE_FIELDS.filter((field) => counts[field] > 0)
          .map((field) => this.#add(usageSubject(keyId, dayOf(now), field), counts[field], `${answerId}.${field}`)),
      ]);
    } catch (error) {
      this.#log.error("usage_not_counted", { key_id: keyId, ...counts, error });
    }
  }

  /**
   * What a key used, by day (UTC, `2026-11-25`), from `start` to `end`; days without use are left out.
   * @throws TesseraError `no_worker` without a bus
   */
  async usage(keyId: string, start: string, end: string): Promise<Map<string, UsageCounts>> {
    const days = new Map<string, Record<UsageField, number>>();
    const manager = await this.#open();
    const { subjects = {} } = (await manager.streams.info(USAGE_STREAM, {
      subjects_filter: usageOf(keyId),
    })).state;
    const names = Object.keys(subjects).flatMap((subject) => {
      const [, , , day = "", field = ""] = subject.split(".");
      return isDay(day) && day >= start && day <= end && isUsageField(field) ? [{ subject, day, field }] : [];
    });
    for (const { subject, day, field } of names) {
      const counts = days.get(day) ?? { ...NOTHING };
      counts[field] = await this.#read(USAGE_STREAM, subject);
      days.set(day, counts);
    }
    return new Map([...days].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** Tokens of the running month. */
  monthTokens(keyId: string, now: number): Promise<number> {
    return this.#read(USAGE_STREAM, usageSubject(keyId, monthOf(now), "tokens"));
  }

  /** Returns the sum. @param once tells the addition from others; the same is added once */
  async #add(subject: string, count: number, once?: string): Promise<number> {
    await this.#open();
    const increment = headers();
    increment.set(INCREMENT, `+${count}`);
    if (once !== undefined) increment.set(MESSAGE_ID, once);
    const reply = await this.#bus.connection.request(subject, undefined, {
      headers: increment,
      timeout: METER_TIMEOUT_MS,
    });
    const answer = reply.json<{ val?: string; duplicate?: boolean }>();
    return answer.duplicate === true ? 0 : sumOf(answer);
  }

  async #read(stream: string, subject: string): Promise<number> {
    const manager = await this.#open();
    const last = await manager.direct.getMessage(stream, { last_by_subj: subject }).catch((error) => {
      if (error?.code === NO_MESSAGE) return null;
      throw error;
    });
    return last === null ? 0 : sumOf(last.json<{ val?: string }>());
  }

  /** Makes the streams once a connection. */
  #open(): Promise<JetStreamManager> {
    const nc = this.#bus.connection;
    if (this.#ready?.nc !== nc) {
      const opened = open(nc);
      opened.catch(() => this.#ready = null);
      this.#ready = { nc, opened };
    }
    return this.#ready.opened;
  }
}

async function open(nc: NatsConnection): Promise<JetStreamManager> {
  const manager = await jetstreamManager(nc, { checkAPI: false, timeout: METER_TIMEOUT_MS });
  await ensureStream(manager, PACE_STREAM_CONFIG);
  await ensureStream(manager, USAGE_STREAM_CONFIG);
  return manager;
}

function sumOf({ val }: { val?: string }): number {
  const sum = Number(val);
  if (Number.isFinite(sum)) return sum;
  throw new TesseraError("internal_error", { diagnostic: "nats-server does not count: 2.12 or later is needed" });
}

const NOTHING: UsageCounts = { requests: 0, input_tokens: 0, cached_tokens: 0, output_tokens: 0, image_tokens: 0 };

const isUsageField = (text: string): text is UsageField => (USAGE_FIELDS as readonly string[]).includes(text);
const isDay = (text: string) => text.length === "2026-11-25".length;
const minuteOf = (now: number) => Math.floor(now / 60_000);
export const dayOf = (now: number): string => new Date(now).toISOString().slice(0, 10);
export const monthOf = (now: number): string => new Date(now).toISOString().slice(0, 7);

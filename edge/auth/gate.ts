/** The door to /v1: who calls, whether the key may do this, and whether it has something left of its limits. */
import { type ApiKey, hasScope, type Logger, type Scope, TesseraError, type Usage } from "@tessera/shared";
import type { Context } from "hono";
import type { EdgeContext } from "../deps.ts";
import { bearerToken, type Caller, uncheckedCaller } from "./caller.ts";
import type { KeyPlaces } from "./key_places.ts";
import type { KeyRing } from "./key_ring.ts";
import { limitHeaders } from "./limit_headers.ts";
import type { Meter, Standing } from "./meter.ts";

export interface GateOptions {
  /** Whether keys are needed. */
  readonly isClosed: boolean;
  readonly keys: KeyRing;
  readonly meter: Meter;
  readonly places: KeyPlaces;
  readonly log: Logger;
}

/** What a key needs for a path, first match; null: any key will do. Other paths are open to everybody. */
const SCOPE_OF_PATH: readonly (readonly [prefix: string, scope: Scope | null])[] = [
  ["/metrics", "admin"],
  ["/v1/models", null],
  ["/v1/usage", null],
  ["/v1/fleet", null],
  ["/v1/captions", "captions"],
  ["/v1/webhooks", "captions"],
  ["/v1/files", "files"],
  ["/v1/batches", "batches"],
  ["/v1/", "inference"],
];
/** Who calls these proves it by a signature of the sender's, not by a key. */
const SIGNED = "/v1/hooks/";

export class Gate {
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** Sets `c.var.caller`; refuses who may not pass. */
  middleware() {
    return async (c: Context<EdgeContext>, next: () => Promise<void>): Promise<void> => {
      const caller = await this.#caller(c);
      c.set("caller", caller);
      if (caller.key !== null) c.set("log", c.var.log.with({ key_id: caller.key.id }));
      if (caller.key === null || c.req.method !== "POST") return await next();
      const now = Date.now();
      const standing = await this.#standing(caller.key, now);
      const headers = standing === null ? {} : limitHeaders(caller.key.limits, standing, now);
      const tell = () => Object.entries(headers).forEach(([name, value]) => c.header(name, value));
      if (standing !== null) {
        tell();
        checkLimits(caller.key, standing, now);
      }
      await next();
      tell();
    };
  }

  /**
   * Whose is what comes in the name of a key that the server itself was given.
   * @throws TesseraError `invalid_api_key`, also for one that was revoked or has expired; `insufficient_scope`
   */
  async callerOf(token: string | null, scope: Scope): Promise<Caller> {
    const { isClosed, keys } = this.#options;
    if (!isClosed) return await uncheckedCaller(token);
    if (token === null) throw new TesseraError("invalid_api_key");
    return callerWith(await keys.find(token), scope);
  }

  /**
   * Counts requests that came in one, beside the first, and refuses where the key may not send as many.
   * @throws TesseraError `insufficient_quota` or `rate_limited`
   */
  async take({ key }: Caller, numRequests: number): Promise<void> {
    if (key === null || numRequests === 0) return;
    const now = Date.now();
    const standing = await this.#standing(key, now, numRequests);
    if (standing !== null) checkLimits(key, standing, now);
  }

  /**
   * A place among the requests of the caller's key that are under way, on all edges together.
   * @returns gives it back, once
   * @throws TesseraError `rate_limited`
   */
  async enter({ key }: Caller): Promise<() => void> {
    const max = key?.limits.concurrency ?? null;
    if (key === null || max === null) return () => {};
    const { places } = this.#options;
    if (!await places.enter(key.id, max)) {
      throw new TesseraError("rate_limited", {
        message: `At most ${max} requests of the API key run at once. Try again when one has ended.`,
      });
    }
    let isIn = true;
    return () => {
      if (isIn) places.leave(key.id);
      isIn = false;
    };
  }

  /** Adds an answer to what the caller's key used. @param answerId whose it is: told twice, it counts once */
  record({ key }: Caller, usage: Usage, answerId: string): void {
    if (key !== null) void this.#options.meter.record(key.id, usage, Date.now(), answerId);
  }

  async #caller(c: Context<EdgeContext>): Promise<Caller> {
    const token = bearerToken(c.req.header("authorization"));
    const { isClosed, keys } = this.#options;
    const { path } = c.req;
    const rule = SCOPE_OF_PATH.find(([prefix]) => path.startsWith(prefix));
    if (!isClosed || rule === undefined || path.startsWith(SIGNED)) return await uncheckedCaller(token);
    if (token === null) throw this.#unknown(c, new TesseraError("invalid_api_key"));
    const key = await keys.find(token).catch((error) => {
      throw this.#unknown(c, error);
    });
    const [, scope] = rule;
    return callerWith(key, scope);
  }

  #unknown(c: Context<EdgeContext>, error: unknown): unknown {
    if (error instanceof TesseraError && error.status === 401) c.header("www-authenticate", 'Bearer realm="tessera"');
    return error;
  }

  async #standing(key: ApiKey, now: number, numRequests = 1): Promise<Standing | null> {
    const { requests_per_minute, tokens_per_minute, tokens_per_month } = key.limits;
    if (requests_per_minute === null && tokens_per_minute === null && tokens_per_month === null) return null;
    return await this.#options.meter.take(key, now, numRequests);
  }
}

/** @param scope null: any key will do. @throws TesseraError `insufficient_scope` */
function callerWith(key: ApiKey, scope: Scope | null): Caller {
  if (scope !== null && !hasScope(key, scope)) {
    throw new TesseraError("insufficient_scope", {
      message: `The API key ${key.id} may not be used for this: it lacks the scope "${scope}".`,
    });
  }
  return { tenant: key.tenant, key };
}

/** @throws TesseraError `insufficient_quota` or `rate_limited` */
function checkLimits({ limits }: ApiKey, standing: Standing, now: number): void {
  const { requests_per_minute: maxRequests, tokens_per_minute: maxTokens, tokens_per_month: maxOfMonth } = limits;
  if (maxOfMonth !== null && (standing.monthTokens ?? 0) >= maxOfMonth) {
    throw new TesseraError("insufficient_quota", {
      message: `The API key's ${maxOfMonth} tokens of this month are used up.`,
    });
  }
  const retryAfterS = Math.max(1, Math.ceil(((standing.minute + 1) * 60_000 - now) / 1000));
  if (maxRequests !== null && (standing.requests ?? 0) > maxRequests) {
    throw new TesseraError("rate_limited", {
      message: `The API key may send ${maxRequests} requests a minute. Try again in ${retryAfterS} s.`,
      retryAfterS,
    });
  }
  if (maxTokens !== null && (standing.tokens ?? 0) >= maxTokens) {
    throw new TesseraError("rate_limited", {
      message: `The API key may use ${maxTokens} tokens a minute. Try again in ${retryAfterS} s.`,
      retryAfterS,
    });
  }
}

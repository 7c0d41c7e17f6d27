/** The edge's settings: what the environment says, and the waits that tests shorten. */
import {
  BODY_TIMEOUT_MS,
  EnvError,
  FETCH_TIMEOUT_MS,
  KEEP_ALIVE_MS,
  type LogFormat,
  type LogLevel,
  NATS_ACCESS_VARIABLES,
  type NatsAccess,
  NO_NATS_ACCESS,
  NO_WORKER_MS,
  parseServers,
  PROBE_MS,
  readEnv,
  readNatsAccess,
  RESTART_MS,
  SILENCE_MS,
  STALL_MS,
} from "@tessera/shared";
import { OUTBOUND_VARIABLES, type OutboundConfig, readOutboundConfig } from "./outbound/settings.ts";
import { type HookSource, parseSources } from "./hooks/sources.ts";
import { parseSecrets, type WebhookSecret } from "./webhooks/signature.ts";

/** Waits, in ms; limits.ts says what each means. */
export interface Waits {
  readonly bodyMs: number;
  readonly fetchMs: number;
  readonly keepAliveMs: number;
  readonly noWorkerMs: number;
  readonly restartMs: number;
  readonly probeMs: number;
  readonly silenceMs: number;
  readonly stallMs: number;
}

export interface EdgeConfig {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Comma separated. */
  readonly natsUrl: string;
  /** None where absent. */
  readonly natsAccess?: NatsAccess;
  /** Web Workers of the tile pool; 0: its own default. */
  readonly numTileWorkers: number;
  readonly maxInflight: number;
  /** Of one API key; none where absent. */
  readonly maxInflightPerKey?: number;
  /** Of all without a key together; none where absent. */
  readonly maxInflightAnonymous?: number;
  readonly maxHeldBytes: number;
  /** WASM memory of all tile workers together. */
  readonly maxTileBytes: number;
  readonly deadlineMs: number;
  readonly drainMs: number;
  /** Whether API keys are needed; absent: unless it listens on loopback. */
  readonly auth?: "keys" | "off" | "auto";
  readonly allowPrivateUrls: boolean;
  /** Lists of where users may point to; none where absent. */
  readonly outbound?: OutboundConfig;
  /** Sites whose scripts may call the API; none where absent. */
  readonly corsOrigins?: readonly string[];
  /** How long captions are kept after their end, in ms; as long as their jobs' states where absent. */
  readonly keepMs?: number;
  /** How long a batch may take; shorter in tests. */
  readonly batchWindowMs?: number;
  /** Webhooks are signed with these, and not taken without. */
  readonly webhookSecrets?: readonly WebhookSecret[];
  /** Sources of events that become captions, by name; none where absent. */
  readonly hookSources?: ReadonlyMap<string, HookSource>;
  /** `host:port` at which metrics are told without a key; empty or absent: nowhere. */
  readonly metricsAddress?: string;
  readonly waits: Waits;
}

export const DEFAULT_WAITS: Waits = {
  bodyMs: BODY_TIMEOUT_MS,
  fetchMs: FETCH_TIMEOUT_MS,
  keepAliveMs: KEEP_ALIVE_MS,
  noWorkerMs: NO_WORKER_MS,
  restartMs: RESTART_MS,
  probeMs: PROBE_MS,
  silenceMs: SILENCE_MS,
  stallMs: STALL_MS,
};

/** How the log is written; apart from the rest because the log is needed to report what is wrong with the rest. */
export interface LogConfig {
  readonly level: LogLevel;
  readonly format: LogFormat;
}

/**
 * Reads the environment of an edge.
 * @throws EnvError that lists every fault
 */
export function readEdgeConfig(
  get: (name: string) => string | undefined,
  readFile: (path: string) => string = Deno.readTextFileSync,
): EdgeConfig & { readonly log: LogConfig } {
  const faults: string[] = [];
  const natsUrl = get("TESSERA_NATS_URL")?.trim() ?? "";
  try {
    parseServers(natsUrl);
  } catch (error) {
    faults.push(`TESSERA_NATS_URL="${natsUrl}": ${error instanceof Error ? error.message : error}`);
  }
  let natsAccess = NO_NATS_ACCESS;
  try {
    natsAccess = readNatsAccess(readEnv(NATS_ACCESS_VARIABLES, get), readFile);
  } catch (error) {
    faults.push(error instanceof Error ? error.message : String(error));
  }
  let webhookSecrets: readonly WebhookSecret[] = [];
  try {
    webhookSecrets = parseSecrets(get("TESSERA_WEBHOOK_SECRETS") ?? "");
  } catch (error) {
    faults.push(`TESSERA_WEBHOOK_SECRETS: ${error instanceof Error ? error.message : error}`);
  }
  let hookSources: ReadonlyMap<string, HookSource> = new Map();
  try {
    const sources = get("TESSERA_HOOKS")?.trim() ?? "";
    if (sources !== "") hookSources = parseSources(sources.startsWith("{") ? sources : readFile(sources), get);
  } catch (error) {
    faults.push(`TESSERA_HOOKS: ${error instanceof Error ? error.message : error}`);
  }
  let outbound: OutboundConfig | undefined;
  try {
    outbound = readOutboundConfig(readEnv(OUTBOUND_VARIABLES, get), readFile);
  } catch (error) {
    faults.push(error instanceof Error ? error.message : String(error));
  }
  try {
    const env = readEnv([
      "TESSERA_HOST",
      "TESSERA_PORT",
      "TESSERA_TILE_WORKERS",
      "TESSERA_MAX_INFLIGHT",
      "TESSERA_KEY_INFLIGHT",
      "TESSERA_ANONYMOUS_INFLIGHT",
      "TESSERA_HELD_MB",
      "TESSERA_TILE_MB",
      "TESSERA_DEADLINE_MS",
      "TESSERA_DRAIN_MS",
      "TESSERA_AUTH",
      "TESSERA_ALLOW_PRIVATE_URLS",
      "TESSERA_CORS_ORIGINS",
      "TESSERA_KEEP_HOURS",
      "TESSERA_METRICS",
      "TESSERA_LOG_LEVEL",
      "TESSERA_LOG_FORMAT",
    ], get);
    if (faults.length === 0) {
      return {
        host: env.TESSERA_HOST,
        port: env.TESSERA_PORT,
        natsUrl,
        natsAccess,
        numTileWorkers: env.TESSERA_TILE_WORKERS,
        maxInflight: env.TESSERA_MAX_INFLIGHT,
        maxInflightPerKey: env.TESSERA_KEY_INFLIGHT,
        maxInflightAnonymous: env.TESSERA_ANONYMOUS_INFLIGHT,
        maxHeldBytes: env.TESSERA_HELD_MB * 1024 * 1024,
        maxTileBytes: env.TESSERA_TILE_MB * 1024 * 1024,
        deadlineMs: env.TESSERA_DEADLINE_MS,
        drainMs: env.TESSERA_DRAIN_MS,
        auth: env.TESSERA_AUTH,
        allowPrivateUrls: env.TESSERA_ALLOW_PRIVATE_URLS,
        corsOrigins: env.TESSERA_CORS_ORIGINS,
        keepMs: env.TESSERA_KEEP_HOURS * 3_600_000,
        webhookSecrets,
        hookSources,
        metricsAddress: env.TESSERA_METRICS,
        ...(outbound === undefined ? {} : { outbound }),
        waits: DEFAULT_WAITS,
        log: { level: env.TESSERA_LOG_LEVEL, format: env.TESSERA_LOG_FORMAT },
      };
    }
  } catch (error) {
    if (!(error instanceof EnvError)) throw error;
    throw faults.length === 0 ? error : new EnvError(`${error.message}\n  ${faults.join("\n  ")}`);
  }
  throw new EnvError(`Cannot read the environment:\n  ${faults.join("\n  ")}`);
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i;

/** Whether requests need an API key. */
export function needsKeys({ auth = "auto", host }: Pick<EdgeConfig, "auth" | "host">): boolean {
  return auth === "keys" || auth === "auto" && !LOOPBACK.test(host);
}

/** Every environment variable: name, default, meaning, check. Edge, worker and tools pick theirs from here. */
import { z } from "zod";
import { DEFAULT_DEADLINE_MS, RECORD_MAX_AGE_MS, WEBHOOK_SCHEDULE_MS } from "./limits.ts";
import { LOG_LEVELS } from "./log.ts";

interface Variable<T> {
  /** Text of the default, as a user would write it. */
  readonly fallback: string;
  readonly help: string;
  readonly parse: z.ZodType<T, string>;
}

function variable<T>(fallback: string, help: string, parse: z.ZodType<T, string>): Variable<T> {
  return { fallback, help, parse };
}

const integer = (min: number, max: number) =>
  z.string().regex(/^\d+$/, "expected a whole number").transform(Number).pipe(z.number().min(min).max(max));
const share = (max: number) =>
  z.string().regex(/^\d*\.?\d+$/, "expected a number").transform(Number).pipe(z.number().min(0).max(max));
const flag = z.enum(["true", "false"]).transform((text) => text === "true");

export const VARIABLES = {
  TESSERA_HOST: variable("127.0.0.1", "Address the edge listens on.", z.string().min(1)),
  TESSERA_AUTH: variable(
    "auto",
    "API keys: keys (needed), off (not looked at), auto (needed unless the edge listens on loopback).",
    z.enum(["auto", "keys", "off"]),
  ),
  TESSERA_PORT: variable("8000", "Port the edge listens on; 0 takes a free one.", integer(0, 65535)),
  TESSERA_MODEL: variable(
    "internvl3-tiny",
    "Checkpoint: a folder, or a name under pretrained/ or gpu-worker/models.",
    z.string().min(1),
  ),
  TESSERA_DEVICE: variable("auto", "Where the model runs: auto, cpu, cuda.", z.enum(["auto", "cpu", "cuda"])),
  TESSERA_DTYPE: variable(
    "auto",
    "Weights in memory: auto (bf16), bf16, fp16, fp32, int8, nf4, fp4, fp8 (GPUs alone).",
    z.enum(["auto", "bf16", "fp16", "fp32", "int8", "nf4", "fp4", "fp8"]),
  ),
  TESSERA_NATS_URL: variable(
    "",
    "NATS servers, comma separated (nats://, tls://, ws://, wss://). Empty: start one on loopback.",
    z.string(),
  ),
  TESSERA_NATS_NAME: variable(
    "",
    "NATS user of this process, where the server gives each rights of its own (infra/nats/fleet.conf).",
    z.string().regex(/^[A-Za-z0-9_-]*$/, "expected letters, digits, - and _"),
  ),
  TESSERA_NATS_CREDS: variable("", "NATS credentials: a .creds file, or its content.", z.string()),
  TESSERA_NATS_CA: variable("", "Certificates to trust NATS servers by: a PEM file, or its content.", z.string()),
  TESSERA_NATS_CERT: variable("", "Certificate shown to NATS servers: a PEM file, or its content.", z.string()),
  TESSERA_NATS_KEY: variable("", "Key of that certificate: a PEM file, or its content.", z.string()),
  TESSERA_THREADS: variable("0", "Threads of the engine; 0: one per core.", integer(0, 1024)),
  TESSERA_NUM_DEVICES: variable(
    "1",
    "Devices the decoder's layers are split over, the vendor's way; on a CPU they are virtual.",
    integer(1, 64),
  ),
  TESSERA_TENSOR_PARALLEL: variable(
    "1",
    "Devices that compute each decoder layer together; must divide attention heads. Not with TESSERA_NUM_DEVICES.",
    integer(1, 16),
  ),
  TESSERA_VISION_DEVICES: variable(
    "0",
    "Devices with a vision tower, which share the tiles; 0: all with TESSERA_TENSOR_PARALLEL, else one.",
    integer(0, 64),
  ),
  TESSERA_ISA: variable(
    "",
    "Lower instruction set than the processor's best, read by the engine: portable, avx2, avx512.",
    z.enum(["", "portable", "avx2", "avx512", "avx512_bf16", "neon_dot"]),
  ),
  TESSERA_CUDA_LIBRARIES: variable(
    "",
    "Folder of libcublasLt.so.13, read by the engine on a GPU; empty: the library path.",
    z.string(),
  ),
  TESSERA_HEAD_DTYPE: variable(
    "auto",
    "Output head in memory: auto (16 bits or more, as bitsandbytes leaves it), int8 (half as much to read for each token).",
    z.enum(["auto", "int8"]),
  ),
  TESSERA_WEIGHT_CACHE: variable(
    "auto",
    "Folder where a worker keeps weights as it packed them, to open a model at once; auto: in TESSERA_DATA_DIR; off: none.",
    z.string().min(1),
  ),
  TESSERA_WEIGHT_CACHE_MB: variable(
    "65536",
    "Most that folder takes, in MiB; what was used longest ago goes first. A tenth of the disk stays free besides.",
    integer(0, 16_777_216),
  ),
  TESSERA_ALGORITHM_CACHE: variable(
    "auto",
    "Folder where a worker on a GPU keeps which algorithm was the quickest for each product; auto: in TESSERA_DATA_DIR; off: not measured.",
    z.string().min(1),
  ),
  TESSERA_FFMPEG: variable(
    "",
    "FFmpeg that decodes videos; empty: the one that set-up fetched, else ffmpeg on PATH.",
    z.string(),
  ),
  TESSERA_KV_CACHE_MB: variable(
    "256",
    "Memory for the KV cache, in MiB; on a GPU only where TESSERA_KV_MEMORY_SHARE is 0.",
    integer(1, 1_048_576),
  ),
  TESSERA_KV_MEMORY_SHARE: variable(
    "0.9",
    "What the KV cache takes of a GPU's memory that is free once weights and working memory are in it; 0: TESSERA_KV_CACHE_MB.",
    share(0.98),
  ),
  TESSERA_TILE_SLOTS: variable("512", "Tiles whose embeddings stay on the device.", integer(16, 1_000_000)),
  TESSERA_MAX_SEQUENCES: variable("16", "Sequences a worker runs at once.", integer(1, 1024)),
  TESSERA_TOKEN_BUDGET: variable("512", "Tokens in one engine step, prefill and decode together.", integer(16, 65536)),
  TESSERA_TILE_WORKERS: variable(
    "0",
    "Web Workers that decode and tile pictures; 0: one per core, at most 4.",
    integer(0, 64),
  ),
  TESSERA_MAX_INFLIGHT: variable("256", "Requests an edge holds at once; above it answers 429.", integer(1, 100_000)),
  TESSERA_KEY_INFLIGHT: variable(
    "128",
    "Requests of one API key an edge holds at once; above it answers 429.",
    integer(1, 100_000),
  ),
  TESSERA_ANONYMOUS_INFLIGHT: variable(
    "192",
    "Requests without an API key an edge holds at once, all together; above it answers 429.",
    integer(1, 100_000),
  ),
  TESSERA_HELD_MB: variable(
    "192",
    "Memory an edge gives to request bodies, pictures and tiles, in MiB; above it answers 429.",
    integer(16, 1_048_576),
  ),
  TESSERA_TILE_MB: variable(
    "768",
    "Memory an edge's tile workers may take for decoding, in MiB; pictures wait for it, larger ones are refused.",
    integer(32, 1_048_576),
  ),
  TESSERA_DEADLINE_MS: variable(
    String(DEFAULT_DEADLINE_MS),
    "Longest time a request may take, in ms.",
    integer(1_000, 86_400_000),
  ),
  TESSERA_METRICS: variable(
    "",
    "Address at which edge or worker serves /metrics, /healthz and /readyz without a key, such as 0.0.0.0:9464; empty: nowhere.",
    z.string().regex(/^$|^\S+:\d{1,5}$/, "expected host:port"),
  ),
  TESSERA_DRAIN_MS: variable("30000", "How long Ctrl-C waits for running answers, in ms.", integer(0, 3_600_000)),
  TESSERA_ALLOW_PRIVATE_URLS: variable(
    "false",
    "Connect to private and loopback addresses too, over http: and on any port (true, false).",
    flag,
  ),
  TESSERA_FETCH_ALLOW: variable(
    "",
    "Only these are connected to, of all that users name: hosts, *.domains, networks, comma separated; empty: any public one.",
    z.string(),
  ),
  TESSERA_FETCH_DENY: variable("", "Hosts, *.domains and networks never connected to; before all else.", z.string()),
  TESSERA_FETCH_TRUST: variable(
    "",
    "Hosts and networks that may be private, over http: and on any port, as a picture store of your own (minio:9000).",
    z.string(),
  ),
  TESSERA_FETCH_CA: variable(
    "",
    "Certificates to trust the servers of pictures and callbacks by, beside the public ones: a PEM file, or its content.",
    z.string(),
  ),
  TESSERA_KEEP_HOURS: variable(
    String(RECORD_MAX_AGE_MS / 3_600_000),
    "How long captions are kept after their end, in hours.",
    integer(1, RECORD_MAX_AGE_MS / 3_600_000),
  ),
  TESSERA_CORS_ORIGINS: variable(
    "",
    "Sites whose scripts may call the API from a browser (https://app.example), comma separated, or *; none unless said.",
    z.string().transform((text, context) => {
      const origins = text.split(",").map((origin) => origin.trim()).filter((origin) => origin !== "");
      const wrong = origins.find((origin) => origin !== "*" && URL.parse(origin)?.origin !== origin);
      if (wrong === undefined) return origins;
      context.addIssue({
        code: "custom",
        message: `"${wrong.slice(0, 64)}" is no origin, expected https://host[:port]`,
      });
      return z.NEVER;
    }),
  ),
  TESSERA_HOOKS: variable(
    "",
    "Sources of events that become captions (edge/README.md): a JSON file, or its content.",
    z.string(),
  ),
  TESSERA_WEBHOOK_SECRETS: variable(
    "",
    "Secrets that webhooks are signed with and owners' own secrets sealed by (whsec_...), comma separated, the newest first; two while one is replaced.",
    z.string(),
  ),
  TESSERA_WEBHOOK_SCHEDULE: variable(
    WEBHOOK_SCHEDULE_MS.map((ms) => ms / 1_000).join(","),
    "Seconds until a webhook that was not taken is tried again, each from the last; after them it is a dead letter.",
    z.string()
      .regex(/^\d+(\.\d+)?(,\d+(\.\d+)?){0,19}$/, "expected seconds, comma separated, at most 20 of them")
      .transform((text) => text.split(",").map((seconds) => Number(seconds) * 1_000)),
  ),
  TESSERA_SUPERVISED: variable(
    "false",
    "Set by the tool that starts edge and worker: stop when standard input closes (true, false).",
    flag,
  ),
  TESSERA_LOG_LEVEL: variable(
    "info",
    `Least severe line to log: ${LOG_LEVELS.join(", ")}.`,
    z.enum(["debug", "info", "warn", "error"]),
  ),
  TESSERA_LOG_FORMAT: variable("json", "Shape of a log line: json, text.", z.enum(["json", "text"])),
  TESSERA_URL: variable("http://127.0.0.1:8000", "Server the command line talks to.", z.url()),
  TESSERA_API_KEY: variable("", "API key that the command line sends, where the server asks for one.", z.string()),
  TESSERA_DATA_DIR: variable(
    ".tessera",
    "Folder for what the tools download and workers keep.",
    z.string().min(1),
  ),
  HF_ENDPOINT: variable("https://huggingface.co", "Hub, or its mirror, that `tessera pull` downloads from.", z.url()),
  HF_TOKEN: variable("", "Token for the hub, for private and gated repositories.", z.string()),
} as const satisfies Record<string, Variable<unknown>>;

export type VariableName = keyof typeof VARIABLES;
type ValueOf<N extends VariableName> = (typeof VARIABLES)[N] extends Variable<infer T> ? T : never;

/** What is asked for cannot be had: told to whoever started the process, without a stack. */
export class EnvError extends Error {
  override readonly name = "EnvError";
}

/**
 * Reads variables, defaults where absent or empty.
 * @throws EnvError with one line per fault, all faults at once
 */
export function readEnv<N extends VariableName>(
  names: readonly N[],
  get: (name: string) => string | undefined,
): { readonly [K in N]: ValueOf<K> } {
  const values: Record<string, unknown> = {};
  const faults: string[] = [];
  for (const name of names) {
    const text = get(name)?.trim() || VARIABLES[name].fallback;
    const parsed = VARIABLES[name].parse.safeParse(text);
    if (parsed.success) values[name] = parsed.data;
    else faults.push(`${name}="${text}": ${parsed.error.issues[0]?.message ?? "not valid"}. ${VARIABLES[name].help}`);
  }
  if (faults.length > 0) throw new EnvError(`Cannot read the environment:\n  ${faults.join("\n  ")}`);
  return values as { readonly [K in N]: ValueOf<K> };
}

/** The table users read, as Markdown. */
export function envTable(): string {
  const rows = Object.entries(VARIABLES).map(([name, v]) =>
    `| \`${name}\` | ${v.fallback === "" ? "" : `\`${v.fallback}\``} | ${v.help} |`
  );
  return ["| variable | default | meaning |", "|---|---|---|", ...rows].join("\n");
}

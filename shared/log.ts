/** One JSON object a line, or short text for terminals. The sink is given, so this file does no I/O. */

export type LogLevel = "debug" | "info" | "warn" | "error";
export const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];
export type LogFormat = "json" | "text";
export type LogFields = Record<string, unknown>;

export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A logger that adds fields to every line. */
  with(fields: LogFields): Logger;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Called with one line, without a newline. */
  readonly sink: (line: string) => void;
}

/** Errors as plain fields, with causes; other values as they are. */
function plain(value: unknown): unknown {
  if (!(value instanceof Error)) return typeof value === "bigint" ? value.toString() : value;
  const fields: LogFields = { name: value.name, message: value.message };
  for (const key of ["code", "diagnostic"] as const) {
    const extra = (value as unknown as LogFields)[key];
    if (extra !== undefined && extra !== null) fields[key] = extra;
  }
  if (value.cause !== undefined) fields["cause"] = plain(value.cause);
  if (value.stack !== undefined) fields["stack"] = value.stack.split("\n").slice(1, 5).map((line) => line.trim());
  return fields;
}

export function createLogger(options: LogOptions, bound: LogFields = {}): Logger {
  const threshold = LOG_LEVELS.indexOf(options.level);
  const write = (level: LogLevel, event: string, fields: LogFields = {}) => {
    if (LOG_LEVELS.indexOf(level) < threshold) return;
    const all = { ...bound, ...fields };
    const entries = Object.entries(all).map(([key, value]) => [key, plain(value)] as const);
    if (options.format === "json") {
      const line = { time: new Date().toISOString(), level, event, ...Object.fromEntries(entries) };
      options.sink(JSON.stringify(line));
    } else {
      const tail = entries.map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
      options.sink([level.padEnd(5), event, ...tail].join(" "));
    }
  };
  return {
    debug: (event, fields) => write("debug", event, fields),
    info: (event, fields) => write("info", event, fields),
    warn: (event, fields) => write("warn", event, fields),
    error: (event, fields) => write("error", event, fields),
    with: (fields) => createLogger(options, { ...bound, ...fields }),
  };
}

/** Drops everything; for tests. */
export const silentLogger: Logger = createLogger({ level: "error", format: "json", sink: () => {} });

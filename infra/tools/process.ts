/** Child processes: run one to its end, or supervise one that stays, in a group of its own, ended with its parent. */

/** Runs a command and returns its output. Throws with the tail of what it printed when it fails. */
export async function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string>; inherit?: boolean } = {},
): Promise<string> {
  const out = options.inherit ? "inherit" : "piped";
  const process = new Deno.Command(command, {
    args: [...args],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
    stdin: "null",
    stdout: out,
    stderr: out,
  });
  const result = await process.output();
  const text = options.inherit ? "" : decode(result.stdout);
  if (!result.success) {
    const printed = options.inherit ? "" : `${text}\n${decode(result.stderr)}`.trim().slice(-2_000);
    throw new Error(`Cannot run ${command} ${args.join(" ")}: exit code ${result.code}\n${printed}`);
  }
  return text;
}

/** First of `names` found on PATH, or null. */
export async function findOnPath(...names: string[]): Promise<string | null> {
  const folders = (Deno.env.get("PATH") ?? "").split(Deno.build.os === "windows" ? ";" : ":");
  for (const name of names) {
    for (const folder of folders) {
      const path = `${folder}/${name}`;
      try {
        if (folder !== "" && (await Deno.stat(path)).isFile) return path;
      } catch {
        // Not in this folder.
      }
    }
  }
  return null;
}

/** A process that stays. */
export interface Supervised {
  readonly pid: number;
  /** Resolves when it has ended, whoever ended it. */
  readonly ended: Promise<Deno.CommandStatus>;
  /** Asks it to stop, waits, then kills it. */
  stop(graceMs: number): Promise<void>;
}

/**
 * Starts a process in a session of its own, so that Ctrl-C in the terminal reaches the parent alone and the parent
 * decides the order in which things stop. The child's standard input is a pipe: a child that heeds its end stops even
 * when the parent was killed.
 */
export function supervise(
  command: string,
  args: readonly string[],
  options: { env?: Record<string, string>; onLine?: (line: string) => void } = {},
): Supervised {
  const child = new Deno.Command(command, {
    args: [...args],
    ...(options.env === undefined ? {} : { env: options.env }),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();
  const onLine = options.onLine ?? (() => {});
  const drained = Promise.all([eachLine(child.stdout, onLine), eachLine(child.stderr, onLine)]);
  const ended = child.status.then(async (status) => {
    await drained;
    return status;
  });
  let stopping: Promise<void> | null = null;
  const stop = async (graceMs: number) => {
    const kill = setTimeout(() => signal(child, "SIGKILL"), graceMs);
    signal(child, "SIGTERM");
    await child.stdin.close().catch(() => {});
    await ended;
    clearTimeout(kill);
  };
  return { pid: child.pid, ended, stop: (graceMs) => stopping ??= stop(graceMs) };
}

function signal(child: Deno.ChildProcess, name: Deno.Signal): void {
  try {
    child.kill(name);
  } catch {
    // Already gone.
  }
}

async function eachLine(stream: ReadableStream<Uint8Array>, onLine: (line: string) => void): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  }
  if (rest !== "") onLine(rest);
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

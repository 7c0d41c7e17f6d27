/** Owns FFmpeg as a child process: one per task, so that a bad file ends only that; its memory, time and reach bounded. */

import { MAX_VIDEO_MS } from "@tessera/shared";

/** Address space of one FFmpeg: frames of 4K on several threads, twice over. */
const MAX_MEMORY_KIB = 4 * 1024 * 1024;
const MAX_THREADS = 4;
/** Time of all its threads: the end of one whose worker was killed and which writes nothing that could fail. */
const MAX_CPU_S = MAX_THREADS * MAX_VIDEO_MS / 1000;

export interface FfmpegProcess {
  /** A reader that cancels it ends nothing: call `kill`. */
  readonly stdout: ReadableStream<Uint8Array>;
  /** Resolves when it has ended, with whether it ended well. */
  readonly ended: Promise<boolean>;
  /** Ends it at once. Idempotent. */
  kill(): void;
}

export interface FfmpegOptions {
  readonly logLevel: "error" | "info" | "verbose";
  /** A damaged file can make it say the same a million times: keep few. */
  readonly onLog?: (line: string) => void;
}

export class Ffmpeg {
  readonly #path: string;
  /** Ends all it started. */
  readonly #signal: AbortSignal | null;

  private constructor(path: string, signal: AbortSignal | null) {
    this.#path = path;
    this.#signal = signal;
  }

  /** The same program, whose processes end at once with the signal; those started after it too. */
  until(signal: AbortSignal): Ffmpeg {
    return new Ffmpeg(this.#path, signal);
  }

  /** The program at `path` (a name is looked up on PATH), or null when it does not run. */
  static async open(path: string): Promise<Ffmpeg | null> {
    try {
      const { success } = await new Deno.Command(path, {
        args: ["-version"],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).output();
      return success ? new Ffmpeg(path, null) : null;
    } catch {
      return null;
    }
  }

  /** Starts it; files are all it may open, and the number of threads is bounded. */
  start(args: readonly string[], options: FfmpegOptions): FfmpegProcess {
    const general = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", options.logLevel];
    const input = [
      "-protocol_whitelist",
      "file",
      "-threads",
      String(Math.min(navigator.hardwareConcurrency, MAX_THREADS)),
    ];
    const all = [...general, ...input, ...args];
    const isWindows = Deno.build.os === "windows";
    // Below the model in priority; a shell sets what the child must not exceed, and becomes the child.
    const shell =
      `ulimit -v ${MAX_MEMORY_KIB} 2>/dev/null; ulimit -t ${MAX_CPU_S} 2>/dev/null; exec nice -n 10 "$0" "$@"`;
    const child = new Deno.Command(isWindows ? this.#path : "sh", {
      args: isWindows ? all : ["-c", shell, this.#path, ...all],
      // Nothing of the worker's environment is FFmpeg's business.
      clearEnv: true,
      env: { PATH: Deno.env.get("PATH") ?? "" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const logged = readLog(child.stderr, options.onLog ?? (() => {}));
    const ended = Promise.all([child.status, logged]).then(([status]) => status.success);
    const kill = () => {
      try {
        child.kill("SIGKILL");
      } catch {
        // Already gone.
      }
      // What it had written is not wanted any more; without a reader its pipe would stay.
      if (!child.stdout.locked) void child.stdout.cancel().catch(() => {});
    };
    if (this.#signal?.aborted) kill();
    this.#signal?.addEventListener("abort", kill);
    void ended.catch(() => {}).then(() => this.#signal?.removeEventListener("abort", kill));
    return { stdout: child.stdout, ended, kill };
  }
}

async function readLog(stream: ReadableStream<Uint8Array>, onLine: (line: string) => void): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
    const lines = (rest + text).split(/[\r\n]+/);
    // A line without an end is no line.
    rest = (lines.pop() ?? "").slice(-2_000);
    lines.forEach(onLine);
  }
  if (rest !== "") onLine(rest);
}

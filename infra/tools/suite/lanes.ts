/** Runs processes in lanes: each to its end, with its output printed whole. */
import { ROOT } from "../paths.ts";
import { dim, green, red } from "../terminal.ts";
import { type Counts, readCounts } from "./counts.ts";

/** One run of Deno. */
export interface Job {
  readonly name: string;
  readonly args: readonly string[];
  /** It must say how many tests passed. */
  readonly isTest: boolean;
}

/** How a job ended; no counts where it was no test, or one that did not come to its end. */
export interface Result {
  readonly job: Job;
  readonly isOk: boolean;
  readonly output: string;
  readonly counts: Counts | undefined;
}

/** Two queues, and how many lanes work on them: with one alone, what waits comes first. */
export interface Queues {
  readonly computing: readonly Job[];
  readonly waiting: readonly Job[];
  /** One has what waits, the others what computes. */
  readonly numLanes: 1 | 2 | 3;
}

/** What computes gives way to what waits. */
const NICE = Deno.build.os === "windows" ? [] : ["nice", "-n", "10"];

/** A job that takes longer hangs: more than three times what the longest took on a crowded machine. */
const MAX_JOB_MS = 30 * 60_000;
/** What does not end when it is asked to. */
const KILL_AFTER_MS = 10_000;

const running = new Set<Deno.ChildProcess>();

/** Runs both queues to their ends. The first lane of each takes from the other when its own is empty. */
export async function runLanes(
  { computing, waiting, numLanes }: Queues,
  log: (text: string) => void,
): Promise<Result[]> {
  const queues = { computing: [...computing], waiting: [...waiting] };
  const results: Result[] = [];
  const lane = async (own: Job[], other: Job[], prefix: readonly string[]): Promise<void> => {
    for (let job = own.shift() ?? other.shift(); job !== undefined; job = own.shift() ?? other.shift()) {
      results.push(await runJob(job, prefix, log));
    }
  };
  await Promise.all([
    lane(queues.waiting, queues.computing, []),
    ...(numLanes > 1 ? [lane(queues.computing, queues.waiting, NICE)] : []),
    ...(numLanes > 2 ? [lane(queues.computing, [], NICE)] : []),
  ]);
  return results;
}

/**
 * Runs what failed once more, alone: beside others a test that waits for clocks may fail for want of a processor. Of what
 * passes now the new result counts; their names come first.
 */
export async function runFailedAgain(
  results: readonly Result[],
  isEligible: (job: Job) => boolean,
  log: (text: string) => void,
): Promise<[passedAlone: string[], results: Result[]]> {
  const passedAlone: string[] = [];
  const last: Result[] = [];
  for (const result of results) {
    if (result.isOk || !isEligible(result.job)) {
      last.push(result);
      continue;
    }
    log(`Once more, alone: ${result.job.name}`);
    const again = await runJob(result.job, [], log);
    if (again.isOk) passedAlone.push(again.job.name);
    last.push(again);
  }
  return [passedAlone, last];
}

/** Asks what runs to end. */
export function stopAll(): void {
  for (const child of running) child.kill("SIGTERM");
}

async function runJob(job: Job, prefix: readonly string[], log: (text: string) => void): Promise<Result> {
  log(`${dim("·")} ${job.name}`);
  const start = performance.now();
  const [command, ...args] = [...prefix, Deno.execPath(), ...job.args];
  const child = new Deno.Command(command!, { args, cwd: ROOT, stdin: "null", stdout: "piped", stderr: "piped" })
    .spawn();
  running.add(child);
  let isLate = false;
  const asking = setTimeout(() => {
    isLate = true;
    child.kill("SIGTERM");
  }, MAX_JOB_MS);
  const killing = setTimeout(() => child.kill("SIGKILL"), MAX_JOB_MS + KILL_AFTER_MS);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  const collect = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> => {
    for await (const chunk of stream) chunks.push(chunk);
  };
  const [{ success }] = await Promise.all([child.status, collect(child.stdout), collect(child.stderr)]);
  running.delete(child);
  clearTimeout(asking);
  clearTimeout(killing);
  const late = isLate ? `\nStopped: it took longer than ${MAX_JOB_MS / 60_000} minutes.` : "";
  const output = await new Blob(chunks).text() + late;
  const counts = job.isTest ? readCounts(output) : undefined;
  const isOk = success && (!job.isTest || counts?.failed === 0);
  const seconds = ((performance.now() - start) / 1_000).toFixed(1);
  log(`${output.trimEnd()}\n${isOk ? green("✓") : red("✗")} ${job.name} ${dim(`${seconds} s`)}\n`);
  return { job, isOk, output, counts };
}

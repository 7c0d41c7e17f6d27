/** A whole checkpoint: what is missing is fetched, several files at once, and `config.json` last. */
import { statfs } from "node:fs/promises";
import { checkpointFiles } from "./checkpoint_files.ts";
import { downloadFile, type DownloadOptions, hasContent } from "./download.ts";
import { contentUrl, listRepository, type RemoteFile, type Repository } from "./listing.ts";
import { bytesText, Progress, type ProgressSink } from "./progress.ts";
import { type Hub, HubError } from "./request.ts";
import { PullState } from "./state.ts";

/** Left free on the disk. */
const SPARE_BYTES = 64 * 1024 * 1024;

export interface PullOptions {
  readonly hub: Hub;
  /** `organisation/name`. */
  readonly repository: string;
  /** Branch, tag or commit. */
  readonly revision: string;
  /** The checkpoint's own folder. */
  readonly target: string;
  /** Files fetched at once. */
  readonly jobs: number;
  /** Read files that were checked before once more. */
  readonly verify: boolean;
  readonly signal: AbortSignal;
  readonly sink: ProgressSink;
  readonly waits?: NonNullable<DownloadOptions["waits"]>;
}

export interface Pulled {
  readonly commit: string;
  readonly numFiles: number;
  /** Files that had to be fetched. */
  readonly numFetched: number;
  readonly numBytes: number;
}

/** @throws HubError saying what to do; the reason of `signal` when it aborts. Both leave what was received, to go on from. */
export async function pull(options: PullOptions): Promise<Pulled> {
  const { hub, repository: id, revision, target, signal, sink } = options;
  const repository = await listRepository(hub, id, revision, signal);
  const files = checkpointFiles(repository);
  const numBytes = files.reduce((sum, { size }) => sum + size, 0);
  sink.write(`${id} at ${repository.commit.slice(0, 12)}: ${files.length} files, ${bytesText(numBytes)}\n`);

  const state = await PullState.open(target, id, repository.commit);
  try {
    const progress = new Progress(numBytes, sink);
    const missing: RemoteFile[] = [];
    for (const file of files) {
      if (await isThere(state, file, options)) progress.skip(file.size);
      else missing.push(file);
    }
    const config = files.at(-1)!;
    if (missing.length > 0 && !missing.includes(config)) {
      // It says that the folder is complete, which it is not now.
      await Deno.remove(`${target}/${config.path}`);
      progress.skip(-config.size);
      missing.push(config);
    }
    await checkSpace(target, state, missing);
    await fetchAll(options, repository, state, missing, progress);
    await state.finish(files);
    progress.finish();
    return { commit: repository.commit, numFiles: files.length, numFetched: missing.length, numBytes };
  } finally {
    state.close();
  }
}

/** By the record; else, where the size fits, by its hash. */
async function isThere(state: PullState, file: RemoteFile, options: PullOptions): Promise<boolean> {
  const path = `${options.target}/${file.path}`;
  if (!options.verify && await state.isRecorded(file)) return true;
  const stat = await Deno.stat(path).catch(() => null);
  if (stat?.size !== file.size || !await hasContent(path, file, options.signal)) return false;
  await state.record(file);
  return true;
}

/** @throws HubError when the disk cannot hold what is missing */
async function checkSpace(target: string, state: PullState, missing: readonly RemoteFile[]): Promise<void> {
  let needed = SPARE_BYTES;
  for (const file of missing) {
    const part = await Deno.stat(state.partOf(file)).catch(() => null);
    needed += Math.max(0, file.size - (part?.size ?? 0));
  }
  const { bavail, bsize } = await statfs(target);
  const free = bavail * bsize;
  if (missing.length === 0 || free >= needed) return;
  throw new HubError(
    `Cannot pull to ${target}: the disk has ${bytesText(free)} free, ${bytesText(needed)} are needed. ` +
      "Make room, or choose another disk with --to.",
  );
}

async function fetchAll(
  options: PullOptions,
  repository: Repository,
  state: PullState,
  missing: readonly RemoteFile[],
  progress: Progress,
): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const fetchOne = async (file: RemoteFile) => {
    await downloadFile({
      hub: options.hub,
      url: contentUrl(options.hub, repository, file.path),
      file,
      target: `${options.target}/${file.path}`,
      part: state.partOf(file),
      signal,
      onBytes: (delta) => progress.add(delta),
      onRetry: (reason, ms) => progress.say(`${reason} Trying again in ${(ms / 1_000).toFixed(0)} s.`),
      ...(options.waits === undefined ? {} : { waits: options.waits }),
    });
    await state.record(file);
  };
  // Large ones first, so that none is left to run alone; config.json says that all the others are there.
  const last = missing.filter(({ path }) => path === "config.json");
  const queue = missing.filter(({ path }) => path !== "config.json").sort((a, b) => b.size - a.size);
  const lane = async () => {
    for (let file = queue.shift(); file !== undefined && !signal.aborted; file = queue.shift()) await fetchOne(file);
  };
  let fault: unknown;
  const lanes = Array.from({ length: Math.max(1, options.jobs) }, () =>
    lane().catch((error) => {
      fault ??= error;
      stop.abort(error);
    }));
  await Promise.all(lanes);
  options.signal.throwIfAborted();
  if (fault !== undefined) throw fault;
  for (const file of last) await fetchOne(file);
}

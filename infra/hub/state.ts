/** What a pull leaves beside the files: their record, their growing parts, and a lock against a second pull. */
import { z } from "zod";
import type { RemoteFile } from "./listing.ts";
import { HubError } from "./request.ts";

const Recorded = z.object({ size: z.int(), hash: z.string(), mtime_ms: z.number() });
const Record = z.object({
  repository: z.string(),
  commit: z.string(),
  files: z.record(z.string(), Recorded),
});
export type PullRecord = z.infer<typeof Record>;

/** The folder `.pull` in a checkpoint's folder. */
export class PullState {
  readonly #folder: string;
  readonly #target: string;
  readonly #lock: Deno.FsFile;
  #record: PullRecord;
  #saving: Promise<void> = Promise.resolve();

  private constructor(target: string, lock: Deno.FsFile, record: PullRecord) {
    this.#target = target;
    this.#folder = `${target}/.pull`;
    this.#lock = lock;
    this.#record = record;
  }

  /** @throws HubError when another pull writes the folder, or when it holds another repository */
  static async open(target: string, repository: string, commit: string): Promise<PullState> {
    await Deno.mkdir(`${target}/.pull`, { recursive: true });
    const lock = await Deno.open(`${target}/.pull/lock`, { create: true, write: true });
    try {
      if (!await lock.tryLock(true)) throw new HubError(`Cannot pull to ${target}: another pull writes it now.`);
      const old = await readRecord(`${target}/.pull/record.json`);
      if (old !== null && old.repository !== repository) {
        throw new HubError(`Cannot pull ${repository} to ${target}: it holds ${old.repository}. Choose another --to.`);
      }
      return new PullState(target, lock, { repository, commit, files: old?.files ?? {} });
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  /** Named after the content, so that parts of different versions never mix. */
  partOf({ path, hash }: RemoteFile): string {
    return `${this.#folder}/${path}.${hash.hex.slice(0, 16)}.part`;
  }

  /** Whether the file on disk is the one that was checked when it was recorded. */
  async isRecorded({ path, size, hash }: RemoteFile): Promise<boolean> {
    const recorded = this.#record.files[path];
    const stat = await Deno.stat(`${this.#target}/${path}`).catch(() => null);
    return recorded !== undefined && stat !== null && recorded.hash === hash.hex && stat.size === size &&
      stat.mtime?.getTime() === recorded.mtime_ms;
  }

  async record({ path, size, hash }: RemoteFile): Promise<void> {
    const mtime_ms = (await Deno.stat(`${this.#target}/${path}`)).mtime?.getTime() ?? 0;
    this.#record.files[path] = { size, hash: hash.hex, mtime_ms };
    await this.#save();
  }

  /** Recorded files the repository no longer has, as when it changed its number of shards. */
  leftovers(files: readonly RemoteFile[]): string[] {
    const wanted = new Set(files.map(({ path }) => path));
    return Object.keys(this.#record.files).filter((path) => !wanted.has(path));
  }

  /** Removes leftovers and stale parts. */
  async finish(files: readonly RemoteFile[]): Promise<void> {
    for (const path of this.leftovers(files)) {
      await Deno.remove(`${this.#target}/${path}`).catch(() => {});
      delete this.#record.files[path];
    }
    for await (const { name } of Deno.readDir(this.#folder)) {
      if (name.endsWith(".part")) await Deno.remove(`${this.#folder}/${name}`);
    }
    await this.#save();
  }

  close(): void {
    this.#lock.close();
  }

  /** One write after the other: several files end at the same time. */
  #save(): Promise<void> {
    const write = async () => {
      const fresh = `${this.#folder}/record.json.new`;
      await Deno.writeTextFile(fresh, JSON.stringify(this.#record, null, 2));
      await Deno.rename(fresh, `${this.#folder}/record.json`);
    };
    return this.#saving = this.#saving.then(write);
  }
}

async function readRecord(path: string): Promise<PullRecord | null> {
  try {
    return Record.parse(JSON.parse(await Deno.readTextFile(path)));
  } catch {
    // None yet, or damaged: everything is checked again by its hash.
    return null;
  }
}

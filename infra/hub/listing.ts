/** What a repository holds: the commit a revision names, and every file with its size and hash. */
import { z } from "zod";
import { type Hub, HubError, hubRequest } from "./request.ts";

/** How a file's content is checked: LFS files by SHA-256, the others by git's blob id. */
export interface FileHash {
  readonly kind: "sha256" | "git";
  readonly hex: string;
}

export interface RemoteFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly hash: FileHash;
}

export interface Repository {
  /** `organisation/name`. */
  readonly id: string;
  /** Commit the revision pointed to; files are fetched by it, so that a change in between mixes nothing. */
  readonly commit: string;
  readonly files: readonly RemoteFile[];
}

const Hex = (length: number) => z.string().regex(new RegExp(`^[0-9a-f]{${length}}$`));
const Info = z.object({ sha: Hex(40) });
const Tree = z.array(z.looseObject({
  type: z.string(),
  path: z.string(),
  size: z.int().min(0).optional(),
  oid: z.string(),
  lfs: z.looseObject({ oid: Hex(64), size: z.int().min(0) }).optional(),
}));
/** Pages of the file list; a checkpoint has one. */
const MAX_PAGES = 20;

/** @throws HubError when there is no such repository or revision, or the answer is not understood */
export async function listRepository(
  hub: Hub,
  id: string,
  revision: string,
  signal: AbortSignal,
): Promise<Repository> {
  const at = `${hub.endpoint}/api/models/${id.split("/").map(encodeURIComponent).join("/")}`;
  const what = `the file list of ${id}${revision === "main" ? "" : ` at ${revision}`}`;
  const info = await hubRequest(hub, `${at}/revision/${encodeURIComponent(revision)}`, what, { signal });
  const { sha: commit } = read(Info, await bodyOf(info, what), what);

  const files: RemoteFile[] = [];
  let next: string | null = `${at}/tree/${commit}`;
  for (let page = 0; next !== null; page++) {
    if (page === MAX_PAGES) throw new HubError(`Cannot get ${what}: more than ${MAX_PAGES} pages.`);
    const response: Response = await hubRequest(hub, next, what, { signal });
    for (const entry of read(Tree, await bodyOf(response, what), what)) {
      if (entry.type !== "file") continue;
      const hash: FileHash = entry.lfs === undefined
        ? { kind: "git", hex: read(Hex(40), entry.oid, what) }
        : { kind: "sha256", hex: entry.lfs.oid };
      files.push({ path: entry.path, size: entry.lfs?.size ?? entry.size ?? 0, hash });
    }
    next = nextPage(response, hub);
  }
  return { id, commit, files };
}

async function bodyOf(response: Response, what: string): Promise<unknown> {
  try {
    return await response.json();
  } catch (cause) {
    throw new HubError(`Cannot get ${what}: the answer is not JSON. Is HF_ENDPOINT right?`, { cause });
  }
}

function read<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new HubError(`Cannot get ${what}: the answer is not understood: ${issue?.path.join(".")} ${issue?.message}`);
}

/** The `rel="next"` link, on the hub's own origin whatever name it gives itself behind a mirror. */
function nextPage(response: Response, hub: Hub): string | null {
  const link = response.headers.get("link")?.match(/<([^>]+)>;\s*rel="next"/)?.[1];
  if (link === undefined) return null;
  const { pathname, search } = new URL(link, hub.endpoint);
  const base = new URL(hub.endpoint);
  const prefix = base.pathname.replace(/\/$/, "");
  return `${base.origin}${pathname.startsWith(`${prefix}/`) ? "" : prefix}${pathname}${search}`;
}

/** URL of a file's content. */
export function contentUrl(hub: Hub, repository: Repository, path: string): string {
  return `${hub.endpoint}/${repository.id}/resolve/${repository.commit}/${encodeURIComponent(path)}`;
}

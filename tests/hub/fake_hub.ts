/** Owns a hub on loopback: file lists, redirects to a second server, ranges, and faults on demand. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const ID = "OpenGVLab/InternVL3-1B";
export const COMMIT = "0123456789abcdef0123456789abcdef01234567";

/** What happens to one answer with a file's content. */
export interface Fault {
  /** The connection breaks after this many bytes of the body. */
  readonly breakAfter?: number;
  /** The server sends nothing more after this many bytes, and stays. */
  readonly stallAfter?: number;
  /** The body ends well, but early. */
  readonly endAfter?: number;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Content and etag in place of the file's. */
  readonly content?: Uint8Array;
  readonly etag?: string;
  /** Answers a range with the whole file. */
  readonly ignoreRange?: boolean;
  /** Total the range answer claims. */
  readonly claimTotal?: number;
}

export interface Seen {
  readonly host: "hub" | "cdn";
  readonly path: string;
  readonly query: string;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly authorization: string | undefined;
}

export class FakeHub {
  readonly files: Map<string, Uint8Array>;
  readonly seen: Seen[] = [];
  /** Faults of a file, one for each answer, first in first out. */
  readonly faults = new Map<string, Fault[]>();
  /** Size told by the list in place of the true one. */
  readonly listedSizes = new Map<string, number>();
  /** The name before the repository got a new one: what is asked of it is sent on, as the hub does, by a path alone. */
  oldName: string | null = null;
  /** In place of the answers of the API. */
  apiFault: Fault | null = null;
  /** Bytes of each write of a body, and the pause after it. */
  pace: { readonly bytes: number; readonly ms: number } | null = null;
  commit = COMMIT;
  #numSigned = 0;
  #hub!: Server;
  #cdn!: Server;

  private constructor(files: Record<string, Uint8Array>) {
    this.files = new Map(Object.entries(files));
  }

  static async start(files: Record<string, Uint8Array>): Promise<FakeHub> {
    const hub = new FakeHub(files);
    hub.#hub = await listen((request, response) => void hub.#answerHub(request, response));
    hub.#cdn = await listen((request, response) => void hub.#answerCdn(request, response));
    return hub;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${portOf(this.#hub)}`;
  }

  /** Requests for a file's content, as the second server saw them. */
  fetches(path: string): Seen[] {
    return this.seen.filter((each) => each.host === "cdn" && each.path === path);
  }

  async close(): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  #note(host: Seen["host"], path: string, { headers, url }: IncomingMessage): void {
    const { range, authorization } = headers;
    const query = new URL(url!, "http://x").search;
    this.seen.push({ host, path, query, range, ifRange: headers["if-range"] as string | undefined, authorization });
  }

  #answerHub(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams } = new URL(request.url!, this.endpoint);
    this.#note("hub", pathname, request);
    const json = (value: unknown, headers = {}) => {
      response.writeHead(200, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
    };
    if (this.oldName !== null && pathname.includes(`/${this.oldName}/`)) {
      const location = request.url!.replace(`/${this.oldName}/`, `/${ID}/`);
      return void response.writeHead(307, { location }).end();
    }
    if (pathname.startsWith("/api/")) {
      const { apiFault } = this;
      if (apiFault !== null) {
        return void response.writeHead(apiFault.status!, apiFault.headers).end(apiFault.body ?? "");
      }
      if (pathname.includes("/revision/")) return json({ sha: this.commit });
      // Two pages, so that following them is tried.
      const entries = [{ type: "directory", path: "examples", oid: "0".repeat(40) }, ...this.#list()];
      if (searchParams.has("cursor")) return json(entries.slice(3));
      return json(entries.slice(0, 3), {
        link: `<https://other.name${pathname}?cursor=2>; rel="next"`,
      });
    }
    const path = pathname.split("/").slice(5).join("/");
    const content = this.files.get(path)!;
    this.#numSigned++;
    response.writeHead(302, {
      location: `http://127.0.0.1:${portOf(this.#cdn)}/${path}?Expires=1&Signature=${this.#numSigned}`,
      etag: `"pointer"`,
      "x-repo-commit": this.commit,
      "x-linked-size": content.length,
      "x-linked-etag": `"${createHash("sha256").update(content).digest("hex")}"`,
    }).end();
  }

  #list() {
    return [...this.files].map(([path, content]) => {
      const size = this.listedSizes.get(path) ?? content.length;
      const oid = createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
      if (!path.endsWith(".safetensors")) return { type: "file", path, size, oid };
      const lfs = { oid: createHash("sha256").update(content).digest("hex"), size, pointerSize: 134 };
      return { type: "file", path, size, oid: "f".repeat(40), lfs };
    });
  }

  async #answerCdn(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url!, "http://x").pathname.slice(1);
    this.#note("cdn", path, request);
    const fault = this.faults.get(path)?.shift() ?? {};
    if (fault.status !== undefined) {
      return void response.writeHead(fault.status, fault.headers).end(fault.body ?? "");
    }
    const content = fault.content ?? this.files.get(path)!;
    const etag = fault.etag ?? `"${createHash("sha256").update(content).digest("hex")}"`;
    const first = Number(request.headers.range?.match(/bytes=(\d+)-/)?.[1] ?? 0);
    const ifRange = request.headers["if-range"];
    const isPart = first > 0 && !fault.ignoreRange && (ifRange === undefined || ifRange === etag);
    const body = content.subarray(isPart ? first : 0);
    const total = fault.claimTotal ?? content.length;
    response.writeHead(isPart ? 206 : 200, {
      etag,
      // Without a length an early end looks like a good one.
      ...(fault.endAfter === undefined ? { "content-length": body.length } : {}),
      ...(isPart ? { "content-range": `bytes ${first}-${content.length - 1}/${total}` } : {}),
    });
    await this.#send(response, body, fault);
  }

  async #send(response: ServerResponse, body: Uint8Array, fault: Fault): Promise<void> {
    const stop = fault.breakAfter ?? fault.stallAfter ?? fault.endAfter ?? body.length;
    const step = this.pace?.bytes ?? 64 * 1024;
    for (let at = 0; at < stop; at += step) {
      const chunk = body.subarray(at, Math.min(at + step, stop));
      await new Promise<void>((resolve) => response.write(chunk, () => resolve()));
      if (this.pace !== null) await new Promise((resolve) => setTimeout(resolve, this.pace!.ms));
    }
    if (fault.breakAfter !== undefined) response.destroy();
    else if (fault.stallAfter === undefined) response.end();
  }
}

async function listen(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

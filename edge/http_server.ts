/**
 * HTTP by node:http under a fetch handler. Deno.serve (2.9) does not notice a client that leaves between its body and
 * the first byte of the answer, unless head and body came in one packet; node:http does, and a job must end then.
 */
import { HEAD_TIMEOUT_MS, IDLE_CONNECTION_MS, MAX_SPARE_CONNECTIONS, TesseraError } from "@tessera/shared";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** After an answer to a body that was not read: how long the rest of it is thrown away, so that the answer is heard. */
const DISCARD_MS = 5_000;
/** How often it is looked for heads that take too long. */
const HEADS_CHECKED_MS = 1_000;
/** How often it is told that connections are turned away. */
const FULL_TOLD_MS = 60_000;

export type FetchHandler = (request: Request) => Response | Promise<Response>;

export interface HttpServer {
  readonly port: number;
  /** Stops listening and waits for running requests; connections without one end at once. */
  close(): Promise<void>;
  /** Ends every connection. */
  destroy(): void;
}

/** Listens. `request.signal` aborts when the client leaves before the whole answer was sent. */
export async function listen(
  handler: FetchHandler,
  options: {
    readonly host: string;
    readonly port: number;
    readonly onFault: (error: unknown) => void;
    /** Longest time for the head of a request, then 408; for the first byte of a connection, then its end. */
    readonly headMs?: number;
    /** Open at the same time; more are closed at once. */
    readonly maxConnections?: number;
    /** They are all taken; told again after a minute at the earliest. */
    readonly onFull?: (maxConnections: number) => void;
  },
): Promise<HttpServer> {
  const server = createServer({ connectionsCheckingInterval: HEADS_CHECKED_MS }, (incoming, outgoing) => {
    answer(handler, incoming, outgoing).catch((error) => {
      options.onFault(error);
      outgoing.destroy();
    });
  });
  // Bodies have a time limit of their own, answers take as long as they take.
  server.requestTimeout = 0;
  const headMs = options.headMs ?? HEAD_TIMEOUT_MS;
  server.headersTimeout = headMs;
  server.keepAliveTimeout = IDLE_CONNECTION_MS;
  // Deno (2.9) never accepts another connection once one has failed for want of file descriptors.
  const maxConnections = server.maxConnections = options.maxConnections ?? MAX_SPARE_CONNECTIONS;
  let numConnections = 0;
  let toldFullAt = -Infinity;
  server.on("connection", (socket) => {
    closeIfSilent(socket, headMs);
    socket.once("close", () => numConnections--);
    if (++numConnections < maxConnections || performance.now() - toldFullAt < FULL_TOLD_MS) return;
    toldFullAt = performance.now();
    options.onFull?.(maxConnections);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      }),
    destroy: () => server.closeAllConnections(),
  };
}

/** `headersTimeout` begins with a head's first byte; a connection that never says one has as long. */
function closeIfSilent(socket: Socket, ms: number): void {
  const timer = setTimeout(() => {
    if (socket.bytesRead === 0) socket.destroy();
  }, ms);
  socket.once("close", () => clearTimeout(timer));
}

async function answer(handler: FetchHandler, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const gone = new AbortController();
  outgoing.on("close", () => {
    if (!outgoing.writableFinished) gone.abort();
  });
  // Faults of a connection show as its end.
  outgoing.on("error", () => gone.abort());
  const request = toRequest(incoming, gone.signal);
  const response = request === null ? notARequest() : await handler(request);
  if (!gone.signal.aborted) await send(response, incoming, outgoing, gone.signal);
  else await response.body?.cancel();
}

function notARequest(): Response {
  const error = new TesseraError("invalid_request", { message: "The request's address or headers are not valid." });
  return Response.json(error.toBody(), { status: error.status });
}

/** A Request takes no TRACE; under another name the routes refuse it as any method they do not have. */
function representable(method: string): string {
  return /^(TRACE|TRACK|CONNECT)$/i.test(method) ? `X-${method}` : method;
}

/** Null when it is no request at all. */
function toRequest(incoming: IncomingMessage, signal: AbortSignal): Request | null {
  try {
    const headers = new Headers();
    for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
      headers.append(incoming.rawHeaders[i]!, incoming.rawHeaders[i + 1]!);
    }
    const { origin } = new URL(`http://${incoming.headers.host ?? "localhost"}`);
    const target = incoming.url ?? "/";
    // Joined, not resolved: `//host/path` is a path here, as it is to a proxy that lets paths through by name.
    const url = target.startsWith("/") ? new URL(origin + target) : new URL(target, origin);
    const method = representable(incoming.method ?? "GET");
    const body = method === "GET" || method === "HEAD" ? null : bodyOf(incoming);
    return new Request(url, { method, headers, body, signal });
  } catch {
    return null;
  }
}

/** The body, read no faster than it is asked for. Cancelling throws away the rest and leaves the connection alone. */
function bodyOf(incoming: IncomingMessage): ReadableStream<Uint8Array> {
  let isOver = false;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const end = (act: () => void) => {
        if (isOver) return;
        isOver = true;
        act();
      };
      incoming.on("data", (chunk: Uint8Array) => {
        if (isOver) return;
        incoming.pause();
        controller.enqueue(chunk);
      });
      incoming.on("end", () => end(() => controller.close()));
      incoming.on("error", (error) => end(() => controller.error(error)));
      incoming.on("close", () => end(() => controller.error(new Error("The client left"))));
      incoming.pause();
    },
    pull: () => void incoming.resume(),
    cancel() {
      isOver = true;
      incoming.resume();
    },
  }, { highWaterMark: 0 });
}

async function send(
  response: Response,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  gone: AbortSignal,
): Promise<void> {
  for (const [name, value] of response.headers) outgoing.setHeader(name, value);
  const isUnread = !incoming.complete;
  if (isUnread) outgoing.setHeader("connection", "close");
  outgoing.statusCode = response.status;
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  // A length that is told beforehand is that of something long.
  if (incoming.method === "HEAD") {
    // Without a length: it would be that of what GET answers, which nobody has made.
    await response.body?.cancel();
    outgoing.end();
  } else if (response.body !== null && (isStream || response.headers.has("content-length"))) {
    outgoing.flushHeaders();
    await pipe(response.body, outgoing, gone);
  } else {
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (!response.headers.has("content-length")) outgoing.setHeader("content-length", bytes.length);
    outgoing.end(bytes);
  }
  if (isUnread) discardRest(incoming);
}

/** Writes a stream as fast as the client takes it; cancels it when the client leaves. */
async function pipe(body: ReadableStream<Uint8Array>, outgoing: ServerResponse, gone: AbortSignal): Promise<void> {
  const reader = body.getReader();
  const cancel = () => void reader.cancel().catch(() => {});
  gone.addEventListener("abort", cancel);
  try {
    for (let read = await reader.read(); !read.done && !gone.aborted; read = await reader.read()) {
      if (!outgoing.write(read.value)) await drained(outgoing, gone);
    }
    outgoing.end();
  } catch {
    // The stream gave up, as on a client that does not read.
    outgoing.destroy();
  } finally {
    gone.removeEventListener("abort", cancel);
    if (gone.aborted) cancel();
  }
}

function drained(outgoing: ServerResponse, gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      outgoing.off("drain", done);
      gone.removeEventListener("abort", done);
      resolve();
    };
    outgoing.on("drain", done);
    gone.addEventListener("abort", done);
    if (gone.aborted) done();
  });
}

function discardRest(incoming: IncomingMessage): void {
  incoming.resume();
  const timer = setTimeout(() => incoming.destroy(), DISCARD_MS);
  for (const event of ["end", "close", "error"]) incoming.on(event, () => clearTimeout(timer));
}

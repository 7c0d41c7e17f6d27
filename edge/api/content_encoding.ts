/** Request bodies that come compressed: what reads them sees the plain ones, within the limits of those. */
import { TesseraError } from "@tessera/shared";
import type { MiddlewareHandler } from "hono";
import { replacingError } from "../byte_streams.ts";
import type { EdgeContext } from "../deps.ts";

/** Those that cannot grow by more than a thousand, so that what a piece becomes is bounded before it is counted. */
const FORMATS: ReadonlyMap<string, CompressionFormat> = new Map([
  ["gzip", "gzip"],
  ["x-gzip", "gzip"],
  ["deflate", "deflate"],
]);
/** Bytes that are decompressed at a time: to 4 MiB at most. */
const PIECE_BYTES = 4 * 1024;

/** Refuses other encodings with 415 and `Accept-Encoding`, as RFC 9110 has it. */
export function decodeBodies(): MiddlewareHandler<EdgeContext> {
  return async (c, next) => {
    const encoding = (c.req.header("content-encoding") ?? "").trim().toLowerCase();
    if (encoding !== "" && encoding !== "identity") {
      const format = FORMATS.get(encoding);
      if (format === undefined) {
        c.header("accept-encoding", "gzip, deflate");
        throw new TesseraError("unsupported_media_type", {
          message: "The request body's Content-Encoding is not supported. Send it plain, or as gzip or deflate.",
        });
      }
      c.req.raw = decoded(c.req.raw, format);
    }
    await next();
  };
}

function decoded(request: Request, format: CompressionFormat): Request {
  if (request.body === null) return request;
  const headers = new Headers(request.headers);
  headers.delete("content-encoding");
  headers.delete("content-length");
  const plain = request.body.pipeThrough(inPieces()).pipeThrough(new DecompressionStream(format));
  return new Request(request.url, {
    method: request.method,
    headers,
    body: replacingError(plain, faultOf),
    signal: request.signal,
  });
}

function inPieces(): TransformStream<Uint8Array, Uint8Array<ArrayBuffer>> {
  return new TransformStream({
    transform(chunk, controller) {
      for (let at = 0; at < chunk.length; at += PIECE_BYTES) controller.enqueue(chunk.slice(at, at + PIECE_BYTES));
    },
  });
}

/** What does not decompress is the request's fault. */
function faultOf(cause: unknown): unknown {
  if (!(cause instanceof TypeError)) return cause;
  const message = "The request body does not decompress as its Content-Encoding says.";
  return new TesseraError("invalid_request", { message, cause });
}

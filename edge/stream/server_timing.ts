/** An answer's stages as the Server-Timing header, which browsers' tools show. Source: W3C Server Timing. */

const NAMES: Readonly<Record<string, string>> = {
  fetch_ms: "fetch",
  decode_ms: "decode",
  tile_ms: "tile",
  queue_ms: "queue",
  tiles_ms: "upload",
  wait_ms: "wait",
  vision_ms: "vision",
  prefill_ms: "prefill",
  generate_ms: "generate",
  first_token_ms: "first_token",
  total_ms: "total",
};

/** @param timings in ms, as answers tell them */
function serverTiming(timings: Readonly<Record<string, number>>): string {
  return Object.entries(NAMES)
    .flatMap(([field, name]) => timings[field] === undefined ? [] : [`${name};dur=${timings[field]}`])
    .join(", ");
}

/** The response with its stages told. */
export function timed(response: Response, timings: Readonly<Record<string, number>>): Response {
  response.headers.set("server-timing", serverTiming(timings));
  return response;
}

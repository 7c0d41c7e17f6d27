/**
 * Resets of sockets that nobody listens to. The NATS client leaves the socket below TLS without a listener, so that a
 * reset of it would end the process; that the connection is gone it notices all the same, by the socket above.
 */

const RESETS = new Set(["ECONNRESET", "EPIPE"]);
let isTolerant = false;

/** From now on such a reset is no uncaught error. Idempotent. */
export function tolerateLateResets(): void {
  if (isTolerant) return;
  isTolerant = true;
  globalThis.addEventListener("error", (event) => {
    const { error } = event as ErrorEvent;
    if (error instanceof Error && "code" in error && RESETS.has(String(error.code))) event.preventDefault();
  });
}

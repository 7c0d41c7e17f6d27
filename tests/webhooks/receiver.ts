/** A receiver of webhooks on loopback that keeps all it is sent, and answers as a test decides. */

/** One request, as it came. */
export interface Received {
  readonly path: string;
  readonly id: string;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly at: number;
}

export interface Receiver {
  readonly url: string;
  readonly received: Received[];
  /** Those to one path. */
  to(path: string): Received[];
  close(): Promise<void>;
}

/** @param answer of one request; 200 when absent */
export function startReceiver(answer?: (request: Received) => Response | Promise<Response>): Receiver {
  const received: Received[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const headers = Object.fromEntries(request.headers);
    const path = new URL(request.url).pathname;
    const body = await request.text();
    const one = { path, id: headers["webhook-id"] ?? "", headers, body, at: Date.now() };
    received.push(one);
    return await answer?.(one) ?? new Response("thanks");
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    received,
    to: (path) => received.filter((one) => one.path === path),
    close: () => server.shutdown(),
  };
}

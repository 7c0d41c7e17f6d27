/** A TCP proxy that can stop passing bytes on without closing anything, as a network that is cut does. */

export interface Proxy {
  /** nats:// URL that leads through it. */
  readonly url: string;
  /** From now on nothing passes; what is sent waits, as in the senders' kernels. */
  stall(): void;
  /** Passes everything again, what waited first. */
  heal(): void;
  close(): void;
}

export function startProxy(target: string): Proxy {
  const { hostname, port } = new URL(target);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections = new Set<Deno.Conn>();
  let open = Promise.resolve();
  let heal = () => {};
  const pass = async (from: Deno.Conn, to: Deno.Conn) => {
    const buffer = new Uint8Array(65_536);
    try {
      for (let length = await from.read(buffer); length !== null; length = await from.read(buffer)) {
        await open;
        for (let sent = 0; sent < length;) sent += await to.write(buffer.subarray(sent, length));
      }
    } catch {
      // One side is gone: the other is closed too.
    }
    for (const each of [from, to]) {
      if (connections.delete(each)) each.close();
    }
  };
  void (async () => {
    for await (const client of listener) {
      connections.add(client);
      const server = await Deno.connect({ hostname, port: Number(port) }).catch(() => null);
      if (server === null) {
        if (connections.delete(client)) client.close();
        continue;
      }
      connections.add(server);
      void pass(client, server);
      void pass(server, client);
    }
  })();
  return {
    url: `nats://127.0.0.1:${listener.addr.port}`,
    stall() {
      open = new Promise((resolve) => heal = resolve);
    },
    heal: () => heal(),
    close() {
      listener.close();
      heal();
      for (const each of [...connections]) if (connections.delete(each)) each.close();
    },
  };
}

/** The same messages on the same bus without anything of ours but the check of a tile's hash; two ends, two processes. */
import { headers, type NatsConnection } from "@nats-io/nats-core";
import { sha256Hex, tileHeaders } from "@tessera/shared";
import { clock } from "./clock.ts";
import { noise, NUM_TILES, TILE_SIZE } from "./pictures.ts";

const ECHO = "raw.echo";
const TILES = "raw.tiles";
/** Says when the last tile of a picture was hashed. */
const WHOLE = "raw.whole";

/** The end where the worker is: answers, and hashes tiles. */
export function serveRawBus(nc: NatsConnection): void {
  nc.subscribe(ECHO, { callback: (_error, msg) => void msg.respond("ok") });
  let numHashed = 0;
  nc.subscribe(TILES, {
    callback: (_error, msg) =>
      void sha256Hex(msg.data).then(() => {
        if (++numHashed % NUM_TILES === 0) nc.publish(WHOLE, String(clock()));
      }),
  });
}

/** The end where the edge is. */
export interface RawBus {
  /** ms for a request of so many bytes and a small reply. */
  readonly roundTrip: (numBytes: number) => Promise<number>;
  /** ms for the tiles of a picture, published at once, until each is hashed at the other end. */
  readonly publishTiles: () => Promise<number>;
}

export async function rawBus(nc: NatsConnection): Promise<RawBus> {
  const pixels = Array.from({ length: NUM_TILES }, noise);
  const hashes = await Promise.all(pixels.map(sha256Hex));
  let whole = Promise.withResolvers<number>();
  nc.subscribe(WHOLE, { callback: (_error, msg) => whole.resolve(Number(msg.string())) });
  await nc.flush();
  return {
    async roundTrip(numBytes) {
      const payload = pixels[0]!.slice(0, numBytes);
      const began = clock();
      await nc.request(ECHO, payload);
      return clock() - began;
    },
    async publishTiles() {
      whole = Promise.withResolvers();
      const began = clock();
      pixels.forEach((tile, i) => {
        const described = headers();
        for (const [name, value] of tileHeaders({ hash: hashes[i]!, size: TILE_SIZE })) described.set(name, value);
        nc.publish(TILES, tile, { headers: described });
      });
      return await whole.promise - began;
    },
  };
}

/** Reads a stored object as fast as it is taken, a few pieces ahead: a slow reader holds no more than these. */
import { createHash } from "node:crypto";
import { jetstream } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import type { ObjectInfo } from "@nats-io/obj";
import { FILE_PIECES_IN_FLIGHT, objectPieces, objectStream } from "@tessera/shared";

/** Longest wait for the next pieces, in ms. */
const FETCH_MS = 10_000;

/** @throws Error when the bytes are not those that were stored, or are gone */
export async function* objectBytes(nc: NatsConnection, bucket: string, info: ObjectInfo): AsyncGenerator<Uint8Array> {
  if (info.chunks === 0) return;
  const consumer = await jetstream(nc).consumers.get(objectStream(bucket), {
    filter_subjects: [objectPieces(bucket, info.nuid)],
  });
  const hash = createHash("sha256");
  try {
    for (let numLeft = info.chunks; numLeft > 0;) {
      const wanted = Math.min(FILE_PIECES_IN_FLIGHT, numLeft);
      let numCome = 0;
      for await (const message of await consumer.fetch({ max_messages: wanted, expires: FETCH_MS })) {
        hash.update(message.data);
        yield message.data;
        numCome++;
      }
      if (numCome === 0) throw new Error(`Cannot read ${info.name}: ${numLeft} of ${info.chunks} pieces are missing`);
      numLeft -= numCome;
    }
  } finally {
    await consumer.delete().catch(() => {});
  }
  const digest = `SHA-256=${hash.digest("base64url")}`;
  if (digest !== info.digest.replace(/=+$/, "")) throw new Error(`Cannot read ${info.name}: its digest is ${digest}`);
}

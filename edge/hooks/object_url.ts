/** Where an object of a store is fetched from: its own address, signed for a moment where the store is private. */
import { AwsClient } from "aws4fetch";
import { HOOK_URL_SECONDS, TesseraError } from "@tessera/shared";
import type { EventItem } from "./event_items.ts";
import type { StoreAccess } from "./sources.ts";

/** As stores have them; no dots that an address would read as a way up. */
const BUCKET = /^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]*$/;
const WAY = /(^|\/)\.{1,2}(\/|$)/;

export interface ObjectUrl {
  readonly url: string;
  /** Without the signature: for people. */
  readonly told: string;
}

/** @throws TesseraError `invalid_request` for a name that would lead somewhere else */
export async function urlOf(place: EventItem["place"], store: StoreAccess | null): Promise<ObjectUrl> {
  if ("url" in place) return { url: place.url, told: place.url };
  const { bucket, key } = place;
  if (!BUCKET.test(bucket) || WAY.test(key) || key.startsWith("/")) {
    throw new TesseraError("invalid_request", {
      message: "The object's bucket or key is no name that can be fetched.",
    });
  }
  const { url, region, keys } = store!;
  const path = key.split("/").map(encodeURIComponent).join("/");
  const address = url.replaceAll("{bucket}", bucket).replaceAll("{key}", () => path);
  const told = new URL(address).href;
  if (keys === null) return { url: told, told };
  const client = new AwsClient({ ...keys, region, service: "s3" });
  const signed = new URL(told);
  signed.searchParams.set("X-Amz-Expires", String(HOOK_URL_SECONDS));
  return { url: (await client.sign(signed.href, { method: "GET", aws: { signQuery: true } })).url, told };
}

/** Where an object of a store is fetched from: its own address, signed for a moment where the store is private. */
import { AwsClient } from "aws4fetch";
import { HOOK_URL_SECONDS, TesseraError } from "@tessera/shared";
import type { EventItem } from "./event_items.ts";
import type { StoreAccess } from "./sources.ts";

/** As stores have them; no dots that an address would read as a way up. */
const BUCKET = /^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]*$/;
const WAY = /(^|\/)\.{1,2}(\/|$)/;

/** @throws TesseraError `invalid_request` for a name that would lead somewhere else */
export async function urlOf(place: EventItem["place"], store: StoreAccess | null): Promise<string> {
  if ("url" in place) return place.url;
  const { bucket, key } = place;
  if (!BUCKET.test(bucket) || WAY.test(key) || key.startsWith("/")) {
    throw new TesseraError("invalid_request", {
      message: "The object's bucket or key is no name that can be fetched.",
    });
  }
  const { url, region, keys } = store!;
  const path = key.split("/").map(encodeURIComponent).join("/");
  const address = url.replaceAll("{bucket}", bucket).replaceAll("{key}", () => path);
  if (keys === null) return address;
  const client = new AwsClient({ ...keys, region, service: "s3" });
  const signed = new URL(address);
  signed.searchParams.set("X-Amz-Expires", String(HOOK_URL_SECONDS));
  return (await client.sign(signed.href, { method: "GET", aws: { signQuery: true } })).url;
}

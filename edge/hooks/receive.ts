/** From a verified event to captions: each picture once, however often the event comes; faults told per picture. */
import { HOOK_CONCURRENCY, sha256Hex, TesseraError } from "@tessera/shared";
import { toEdgeError } from "../dispatch/bus_faults.ts";
import type { Ticket } from "../admission.ts";
import type { Caller } from "../auth/caller.ts";
import { submitCaption } from "../captions/submit.ts";
import type { EdgeDeps } from "../deps.ts";
import type { EventItem } from "./event_items.ts";
import { urlOf } from "./object_url.ts";
import type { SeenEvents } from "./seen_events.ts";
import type { HookSource } from "./sources.ts";
import type { VerifiedEvent } from "./verify.ts";

/** What came of one picture of an event. */
export type HookResult =
  | { readonly status: "created" | "duplicate"; readonly caption_id: string }
  | { readonly status: "ignored"; readonly reason: "too_old" }
  | { readonly status: "failed"; readonly error: TesseraError };

export interface Reception {
  readonly deps: EdgeDeps;
  readonly seen: SeenEvents;
  readonly source: HookSource;
  /** Whose captions these are, and whose use they count as. */
  readonly owner: Caller;
  readonly verified: VerifiedEvent;
  readonly ticket: Ticket;
  readonly signal: AbortSignal;
}

/** In the order of the items. Never rejects for what one picture is at fault for. */
export async function receive(reception: Reception, items: readonly EventItem[]): Promise<HookResult[]> {
  const results = new Array<HookResult>(items.length);
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await receiveOne(reception, items[index]!, index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(HOOK_CONCURRENCY, items.length) }, lane));
  return results;
}

async function receiveOne(reception: Reception, item: EventItem, index: number): Promise<HookResult> {
  const { deps, seen, source, owner, verified, ticket, signal } = reception;
  const { options, name } = source;
  if (item.timeMs !== null && Date.now() - item.timeMs > options.max_age_s * 1_000) {
    return { status: "ignored", reason: "too_old" };
  }
  const eventId = await idOf(item, verified, index);
  const { captionId: id, isAgain } = await seen.claim(name, eventId);
  try {
    // One that was heard and not made, because its edge died, is made now.
    if (isAgain && await deps.captions.find(owner.tenant, id) !== null) return { status: "duplicate", caption_id: id };
    const { url, told: toldUrl } = await urlOf(item.place, source.store);
    const json = {
      ...options.caption,
      image: url,
      metadata: metadataOf(options.caption.metadata ?? {}, name, item),
    };
    const body = { json, blobs: new Map(), numBytes: 0 };
    await submitCaption(deps, { owner, body, ticket, signal, id, toldUrl });
    return { status: "created", caption_id: id };
  } catch (thrown) {
    await seen.forget(name, eventId).catch(() => {});
    return { status: "failed", error: toEdgeError(thrown) };
  }
}

/** By its own id; else by the signed id of the whole; else by what it says. */
async function idOf({ id, thing }: EventItem, verified: VerifiedEvent, index: number): Promise<string> {
  if (id !== null) return `item ${id}`;
  if (verified.id !== null) return `event ${verified.id} ${index}`;
  return `hash ${await sha256Hex(new TextEncoder().encode(JSON.stringify(thing)))}`;
}

/** As many entries as captions take. */
const MAX_METADATA = 16;
const MAX_METADATA_CHARS = 512;

function metadataOf(fixed: Readonly<Record<string, string>>, source: string, { metadata }: EventItem) {
  const all = Object.entries({ ...fixed, ...metadata, source }).slice(-MAX_METADATA);
  return Object.fromEntries(all.map(([name, value]) => [name, value.slice(0, MAX_METADATA_CHARS)]));
}

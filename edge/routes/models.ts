/** GET /v1/models and /v1/models/{id}: what the workers alive now serve. */
import {
  MAX_BODY_BYTES,
  MAX_IMAGE_BYTES,
  MAX_IMAGE_PIXELS,
  MAX_IMAGE_SIDE,
  MAX_IMAGES,
  MAX_MESSAGES,
  MAX_TEXT_CHARS,
  MAX_TILES,
} from "@tessera/shared";
import type { Context } from "hono";
import type { EdgeContext, EdgeDeps } from "../deps.ts";
import type { ModelEntry } from "../dispatch/directory.ts";

export function listModels(deps: EdgeDeps) {
  return (c: Context<EdgeContext>): Response =>
    c.json({ object: "list", data: deps.directory.models().map(modelBody) });
}

export function getModel(deps: EdgeDeps) {
  return (c: Context<EdgeContext>): Response => {
    // Names of models hold slashes: all behind /v1/models/ is the name.
    const name = decoded(c.req.path.slice("/v1/models/".length));
    const entry = deps.directory.models().find((model) => model.name === name);
    if (entry !== undefined) return c.json(modelBody(entry));
    throw deps.directory.absence(name);
  };
}

/** Clients encode the slashes or not. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function modelBody({ name, workers }: ModelEntry) {
  const [first] = workers;
  const sum = (pick: (worker: ModelEntry["workers"][number]) => number) =>
    workers.reduce((total, worker) => total + pick(worker), 0);
  return {
    id: name,
    object: "model",
    created: first.created,
    owned_by: "tessera",
    tessera: {
      context_length: first.context_length,
      tile_size: first.tile_size,
      tokens_per_tile: first.tokens_per_tile,
      min_tiles: first.min_tiles,
      max_tiles: first.max_tiles,
      thumbnail: first.thumbnail,
      limits: {
        images: MAX_IMAGES,
        tiles: MAX_TILES,
        messages: MAX_MESSAGES,
        text_chars: MAX_TEXT_CHARS,
        image_bytes: MAX_IMAGE_BYTES,
        image_pixels: MAX_IMAGE_PIXELS,
        image_side: MAX_IMAGE_SIDE,
        body_bytes: MAX_BODY_BYTES,
      },
      num_workers: workers.length,
      capacity: sum((worker) => worker.capacity),
      running: sum((worker) => worker.running),
      devices: [...new Set(workers.map((worker) => worker.device))],
      dtypes: [...new Set(workers.map((worker) => worker.dtype))],
    },
  };
}

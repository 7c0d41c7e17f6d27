/** GET /v1/fleet: the workers that live, and what this edge has to do. */
import { versionsOf, WIRE_VERSIONS } from "@tessera/shared";
import type { Context } from "hono";
import type { EdgeContext, EdgeDeps } from "../deps.ts";

export function fleet(deps: EdgeDeps) {
  return (c: Context<EdgeContext>): Response => {
    const { admission, tilePool, dispatcher, directory } = deps;
    const { workers, running, queued, memoryBytes } = tilePool.stats;
    return c.json({
      object: "fleet",
      edge: {
        id: dispatcher.edgeId,
        draining: admission.isDraining,
        inflight: admission.numInflight,
        held_bytes: admission.heldBytes,
        tiles: { workers, running, queued, memory_bytes: memoryBytes },
        wire_versions: WIRE_VERSIONS,
      },
      workers: directory.models().flatMap((model) => model.workers).map(({ v: _, worker_id: id, ...worker }) => ({
        id,
        ...worker,
        wire_versions: versionsOf(worker),
      })),
      incompatible: directory.incompatible().map(({ worker_id: id, model, ...worker }) => ({
        id,
        model,
        wire_versions: versionsOf(worker),
      })),
    });
  };
}

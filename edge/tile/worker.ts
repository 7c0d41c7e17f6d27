// Owns the entry of a tile worker.
import { serve, type WorkerScope } from "./serve.ts";
import { Tiler } from "./tiler.ts";

serve(globalThis as unknown as WorkerScope, (module) => new Tiler(module));

// Owns a tile worker that breaks on command, in the ways a decoder can: a trap, an endless loop, an uncaught error.
import type { ToWorker } from "../../edge/tile/protocol.ts";
import { serve, type WorkerScope } from "../../edge/tile/serve.ts";
import { Tiler } from "../../edge/tile/tiler.ts";
import { Fault } from "./faults.ts";

/** (module (func (export "trap") unreachable)) */
const TRAP_CODE = "AGFzbQEAAAABBAFgAAADAgEABwgBBHRyYXAAAAoFAQMAAAs=";

class FaultyTiler extends Tiler {
  override tile(...args: Parameters<Tiler["tile"]>): ReturnType<Tiler["tile"]> {
    const fault = args[0].at(-1);
    if (fault === Fault.Trap) trap();
    while (fault === Fault.Loop);
    return super.tile(...args);
  }
}

function trap(): void {
  const module = new WebAssembly.Module(Uint8Array.from(atob(TRAP_CODE), (char) => char.charCodeAt(0)));
  (new WebAssembly.Instance(module).exports["trap"] as () => void)();
}

const scope = globalThis as unknown as WorkerScope;
serve(scope, (module) => new FaultyTiler(module));

const answer = scope.onmessage!;
scope.onmessage = (event: MessageEvent<ToWorker>) => {
  if (event.data.kind === "tile" && event.data.bytes.at(-1) === Fault.Uncaught) throw new Error("out of nowhere");
  answer(event);
};

// Owns the proof that the committed WASM is the one its sources build, needs nothing of its host, and names no machine.
import assert from "node:assert/strict";
import { RUST_FLAGS, sha256, sourceHash } from "../../native/tiler/sources.ts";
import { module } from "./support.ts";

const WASM = new URL("../../edge/tile/wasm/", import.meta.url);
const CRATE = new URL("../../native/tiler", import.meta.url).pathname;

const manifest = JSON.parse(Deno.readTextFileSync(new URL("manifest.json", WASM)));
const bytes = Deno.readFileSync(new URL("tiler.wasm", WASM));

Deno.test("the WASM is built from the sources as they are", async () => {
  const hint = "run deno run -A native/tiler/build.ts and commit edge/tile/wasm";
  assert.equal(manifest.sources, await sourceHash(CRATE), hint);
  assert.deepEqual(manifest.flags, RUST_FLAGS, hint);
  assert.equal(manifest.wasm, await sha256(bytes), hint);
});

Deno.test("the WASM imports nothing and stays small", () => {
  assert.deepEqual(WebAssembly.Module.imports(module), []);
  assert.ok(bytes.length < 1_500_000, `${bytes.length} bytes`);
});

Deno.test("the WASM names no path of the machine that built it", () => {
  const text = new TextDecoder("latin1").decode(bytes);
  assert.deepEqual(text.match(/\/(home|root|usr|tmp|work|Users)\/\w+/g), null);
});

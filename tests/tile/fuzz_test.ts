// Owns the short run of the fuzzer: a thousand damaged files, the same every time. `deno task fuzz tiler` runs more.
import assert from "node:assert/strict";
import { fuzzTiler } from "../fuzz/tiler.ts";

Deno.test("a thousand damaged files: no trap reaches a caller, none hangs, no worker is lost", async () => {
  const { numFiles, outcomes, faults } = await fuzzTiler(1_000, 20_261_124, 2);
  assert.deepEqual(faults, []);
  assert.equal(Object.values(outcomes).reduce((sum, count) => sum + count, 0), numFiles);
  for (const outcome of ["tiled", "truncated", "corrupt", "unsupported_format", "too_many_pixels"]) {
    assert.ok((outcomes[outcome] ?? 0) > 5, `${outcome}: ${JSON.stringify(outcomes)}`);
  }
});

// Owns the proof that tiling does not leak: resident memory after 200 mixed pictures is that after the first 20.
import assert from "node:assert/strict";

Deno.test("200 mixed pictures end within a tenth of the resident memory of the first 20", async () => {
  const script = new URL("./resident.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--v8-flags=--expose-gc", script],
    // glibc's allocator else keeps freed tiles for later, and its holes are not what is tested.
    env: { MALLOC_MMAP_THRESHOLD_: "131072" },
    stdout: "piped",
    stderr: "inherit",
  });
  const { success, stdout } = await child.output();
  assert.ok(success);
  const resident = new TextDecoder().decode(stdout).trim().split("\n").map(Number);
  assert.equal(resident.length, 20);
  const afterTwenty = resident[1]!;
  // The best of the last three: a leak is in all of them, a picture's garbage is not.
  const atTheEnd = Math.min(...resident.slice(-3));
  assert.ok(atTheEnd <= afterTwenty * 1.1, `${afterTwenty} bytes, then ${atTheEnd}`);
});

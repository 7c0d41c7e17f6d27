/** The layer check holds for the repository, and fails where it must. */
import assert from "node:assert/strict";
import { checkFile, checkRepository } from "../../infra/checks/layers.ts";

Deno.test("layers: the repository keeps them", async () => {
  const { violations, numFiles } = await checkRepository();
  assert.ok(numFiles > 20, `only ${numFiles} files were read`);
  assert.deepEqual(violations, []);
});

Deno.test("layers: an import that goes the wrong way is found", () => {
  const rules = (file: string, text: string) => checkFile(file, text).map(({ rule }) => rule);
  assert.deepEqual(rules("edge/app.ts", 'import { x } from "../gpu-worker/worker.ts";'), [
    "edge may not import gpu-worker",
  ]);
  assert.deepEqual(rules("edge/routes/a.ts", 'const m = await import("@tessera/native");'), [
    "edge may not import native",
  ]);
  assert.deepEqual(rules("shared/mod.ts", 'export * from "../edge/app.ts";'), ["shared may not import edge"]);
  assert.deepEqual(rules("gpu-worker/a.ts", 'import { y } from "@tessera/edge";'), ["gpu-worker may not import edge"]);
  assert.deepEqual(rules("edge/app.ts", 'import { z } from "@tessera/shared";'), []);
  assert.deepEqual(rules("gpu-worker/engine/native.ts", 'import { a } from "../../native/mod.ts";'), []);
});

Deno.test("layers: text with one home is found elsewhere", () => {
  const rules = (file: string, text: string) => checkFile(file, text).map(({ rule }) => rule);
  assert.deepEqual(rules("native/engine/model/a.cpp", "#include <napi.h>"), ["napi.h outside its home"]);
  assert.deepEqual(rules("edge/dispatch/a.ts", "const s = `tessera.jobs.live.x`;"), ["a subject outside its home"]);
  assert.deepEqual(rules("edge/a.ts", 'new Deno.Command("ls");'), ["a subprocess or addon outside its home"]);
});

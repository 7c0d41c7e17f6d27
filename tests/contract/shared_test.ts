/** The shared facts: subjects stay injective, errors complete, environment faults told at once, tiles checked. */
import {
  createLogger,
  EnvError,
  envTable,
  ERROR_CODES,
  jobIdOf,
  liveConsumer,
  liveJobsSubject,
  modelToken,
  newId,
  parseTile,
  readEnv,
  sha256Hex,
  TesseraError,
  tileHeaders,
  tilesSubject,
  toTesseraError,
  unknownVariables,
  VARIABLES,
} from "@tessera/shared";
import fc from "fast-check";
import assert from "node:assert/strict";

Deno.test("subjects: a model's token is one legal token, and no two models share one", () => {
  fc.assert(fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (a, b) => {
    assert.match(modelToken(a), /^[A-Za-z0-9_=-]+$/);
    assert.match(liveConsumer(a), /^[A-Za-z0-9_-]+$/);
    const same = new TextEncoder().encode(a).toString() === new TextEncoder().encode(b).toString();
    assert.equal(modelToken(a) === modelToken(b), same);
  }));
  assert.equal(liveJobsSubject("OpenGVLab/InternVL3-1B"), "tessera.jobs.live.OpenGVLab=2FInternVL3-1B.usual");
});

Deno.test("subjects: the job id is found again", () => {
  const id = newId("job");
  assert.equal(jobIdOf(tilesSubject(newId("worker"), id)), id);
  assert.match(id, /^job-[0-9a-z]{21}$/);
});

Deno.test("errors: each has a status, a text and a body of OpenAI's shape", () => {
  for (const code of ERROR_CODES) {
    const error = new TesseraError(code);
    assert.ok(error.status >= 400 && error.status < 600, code);
    assert.ok(error.message.endsWith("."), code);
    assert.deepEqual(Object.keys(error.toBody().error), ["message", "type", "param", "code"]);
  }
});

Deno.test("errors: what was not ours shows nothing of itself", () => {
  const error = toTesseraError(new Error("password=hunter2"));
  assert.equal(error.code, "internal_error");
  assert.ok(!JSON.stringify(error.toBody()).includes("hunter2"));
  assert.ok(error.diagnostic?.includes("hunter2"));
});

Deno.test("env: defaults are valid, faults are told all at once", () => {
  const names = Object.keys(VARIABLES) as (keyof typeof VARIABLES)[];
  assert.doesNotThrow(() => readEnv(names, () => undefined));
  const wrong: Record<string, string> = { TESSERA_PORT: "99999", TESSERA_DTYPE: "int7" };
  assert.throws(() => readEnv(["TESSERA_PORT", "TESSERA_DTYPE"], (name) => wrong[name]), (error: Error) => {
    return error instanceof EnvError && error.message.includes("TESSERA_PORT") &&
      error.message.includes("TESSERA_DTYPE");
  });
});

Deno.test("env: the table users read is the table in the code", async () => {
  const page = await Deno.readTextFile(new URL("../../infra/README.md", import.meta.url));
  assert.ok(page.includes(envTable()), "run `deno task tessera env` and put its table into infra/README.md");
});

Deno.test("tiles: a message that does not fit its headers is refused", async () => {
  const pixels = new Uint8Array(4 * 4 * 3);
  const hash = await sha256Hex(pixels);
  const headers = new Map(tileHeaders({ hash, size: 4 }));
  const get = (name: string) => headers.get(name);
  assert.deepEqual(parseTile(get, pixels, 4), { hash, size: 4 });
  assert.throws(() => parseTile(get, pixels.subarray(1), 4));
  assert.throws(() => parseTile(get, pixels, 8));
  assert.throws(() => parseTile(() => undefined, pixels, 4));
});

Deno.test("log: levels, formats, and errors with their causes", () => {
  const lines: string[] = [];
  const log = createLogger({ level: "info", format: "json", sink: (line) => lines.push(line) }).with({ part: "edge" });
  log.debug("hidden");
  log.error("failed", { error: new Error("outer", { cause: new Error("inner") }), count: 3n });
  assert.equal(lines.length, 1);
  const line = JSON.parse(lines[0] ?? "") as Record<string, unknown>;
  assert.equal(line["event"], "failed");
  assert.equal(line["part"], "edge");
  assert.equal(line["count"], "3");
  assert.match(JSON.stringify(line), /outer.*inner/);
});

Deno.test("environment: what is spelt nearly as a variable is asked about, what Kubernetes sets is not", () => {
  const names = ["TESSERA_PORT", "TESSERA_PROT", "TESSERA_MODELL", "TESSERA_SPEED", "TESSERA_A_PORT_80_TCP", "PATH"];
  assert.deepEqual(unknownVariables(names), [
    { variable: "TESSERA_PROT", did_you_mean: "TESSERA_PORT" },
    { variable: "TESSERA_MODELL", did_you_mean: "TESSERA_MODEL" },
    { variable: "TESSERA_SPEED" },
  ]);
});

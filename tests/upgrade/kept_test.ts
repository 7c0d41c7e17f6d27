/** Every stream and bucket has its line in the table of what is kept, and no line is of one that is not there. */
import * as shared from "@tessera/shared";
import { ROOT } from "@tessera/infra/paths";
import assert from "node:assert/strict";

Deno.test("upgrades: the table of what is kept is complete", async () => {
  const page = await Deno.readTextFile(`${ROOT}/infra/UPGRADES.md`);
  const rows = page.split("\n").filter((line) => line.startsWith("| `"));
  const told = rows.flatMap((row) => [...row.split("|")[1]!.matchAll(/`(\w+)`/g)].map(([, name]) => name!));
  const there = Object.entries(shared).filter(([name]) => /_(STREAM|BUCKET)$/.test(name)).map(([, value]) =>
    `${value}`
  );
  assert.deepEqual(told.sort(), there.sort());
});

Deno.test("upgrades: each version this build speaks says what it changed, and they follow each other", () => {
  for (const version of shared.WIRE_VERSIONS) assert.ok(shared.WIRE_CHANGES[version]!.length > 20);
  assert.deepEqual([shared.WIRE_VERSIONS[1] - shared.WIRE_VERSIONS[0], shared.STORED_VERSION], [
    1,
    shared.WIRE_VERSIONS[0],
  ]);
  assert.equal(Math.max(...Object.keys(shared.WIRE_CHANGES).map(Number)), shared.WIRE_VERSIONS.at(-1));
});

Deno.test("upgrades: the newest version all speak, else the newest one speaks, else none", () => {
  const cases: readonly (readonly [readonly (readonly number[])[], number | null])[] = [
    [[[1, 2]], 2],
    [[[1, 2], [1]], 1],
    [[[1], [2, 3]], 2],
    [[[3, 4]], null],
    [[], null],
  ];
  for (const [peers, version] of cases) assert.equal(shared.versionFor(peers), version, JSON.stringify(peers));
  assert.equal(shared.errorCodeFor(1, "incompatible_version"), "internal_error");
  assert.equal(shared.errorCodeFor(2, "incompatible_version"), "incompatible_version");
  assert.equal(shared.errorCodeFor(1, "rate_limited"), "rate_limited");
});

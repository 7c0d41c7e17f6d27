/** Every package in the lock files has a licence that is allowed; npm's are held against what the packages say. */
import { ROOT } from "@tessera/infra/paths";
import assert from "node:assert/strict";
import { componentId, readComponents } from "../../infra/sbom/components.ts";
import { isAllowed, licenceFaults } from "../../infra/sbom/licences.ts";
import { cycloneDx, LICENCES } from "../../infra/sbom/main.ts";

Deno.test("sbom: every component of the lock files has an allowed licence, and the document tells all of them", async () => {
  const components = await readComponents();
  for (const kind of ["npm", "cargo", "pypi"]) {
    assert.ok(components.filter((each) => each.kind === kind).length > 10, kind);
  }
  assert.deepEqual(licenceFaults(components, LICENCES), []);
  const { components: listed } = cycloneDx(components, LICENCES) as { components: { licenses?: unknown }[] };
  assert.equal(listed.filter(({ licenses }) => licenses !== undefined).length, components.length);
});

Deno.test("sbom: npm packages say of themselves what the table says", async () => {
  let numRead = 0;
  for (const component of await readComponents()) {
    if (component.kind !== "npm") continue;
    const folder = `${component.name.replace("/", "+")}@${component.version}`;
    for await (const { name } of Deno.readDir(`${ROOT}/node_modules/.deno`)) {
      if (name !== folder && !name.startsWith(`${folder}_`)) continue;
      const path = `${ROOT}/node_modules/.deno/${name}/node_modules/${component.name}/package.json`;
      const { license } = JSON.parse(await Deno.readTextFile(path)) as { license: string };
      assert.equal(LICENCES[componentId(component)], license.replace(/^\((.*)\)$/, "$1"), component.name);
      numRead++;
      break;
    }
  }
  assert.ok(numRead > 20, `${numRead} packages read`);
});

Deno.test("sbom: unknown, forbidden and left-over licences are faults", () => {
  const component = { kind: "npm", name: "a", version: "1.0.0" } as const;
  assert.match(licenceFaults([component], {})[0]!, /not in infra/);
  assert.match(licenceFaults([component], { "npm:a@1.0.0": "AGPL-3.0-only" })[0]!, /AGPL-3.0-only is not allowed/);
  assert.match(licenceFaults([], { "npm:a@1.0.0": "MIT" })[0]!, /in no lock file/);
  assert.deepEqual(licenceFaults([component], { "npm:a@1.0.0": "GPL-3.0-only OR MIT" }), []);
  for (
    const [expression, expected] of [["MIT AND GPL-3.0-only", false], ["(MIT OR X) AND ISC", true], [
      "X",
      false,
    ]] as const
  ) {
    assert.equal(isAllowed(expression), expected, expression);
  }
  assert.throws(() => isAllowed("(MIT"), /expected \)/);
  assert.throws(() => isAllowed("MIT ISC"), /unexpected ISC/);
});

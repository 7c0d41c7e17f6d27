/** `deno task sbom`: prints a CycloneDX bill of materials; code 1 where a licence is unknown or not allowed. */
import { type Component, componentId, readComponents } from "./components.ts";
import { licenceFaults } from "./licences.ts";
import table from "./licences.json" with { type: "json" };

export const LICENCES: Readonly<Record<string, string>> = table;

/** Package URL. */
function purl({ kind, name, version }: Component): string {
  return `pkg:${kind}/${name.replace(/^@/, "%40")}@${version}`;
}

/** A CycloneDX 1.6 document; the same for the same lock files. */
export function cycloneDx(components: readonly Component[], licences: Readonly<Record<string, string>>): unknown {
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        type: "application",
        "bom-ref": "tessera",
        name: "tessera",
        licenses: [{ license: { id: "Apache-2.0" } }],
      },
    },
    components: components.map((component) => {
      const licence = licences[componentId(component)];
      return {
        type: "library",
        "bom-ref": purl(component),
        name: component.name,
        version: component.version,
        purl: purl(component),
        ...(component.hash === undefined ? {} : { hashes: [component.hash] }),
        ...(licence === undefined ? {} : { licenses: [{ expression: licence }] }),
      };
    }),
  };
}

if (import.meta.main) {
  const components = await readComponents();
  console.log(JSON.stringify(cycloneDx(components, LICENCES), null, 2));
  const faults = licenceFaults(components, LICENCES);
  for (const fault of faults) console.error(fault);
  Deno.exit(faults.length > 0 ? 1 : 0);
}

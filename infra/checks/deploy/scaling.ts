/** KEDA's own words for the chart's scaling: the schema of its objects, and what its scalers read of a trigger. */
import { parse, parseAllDocuments } from "yaml";

/** What the scalers read: nats_jetstream_scaler.go and prometheus_scaler.go of that version. */
export const KEDA = "github.com/kedacore/keda/v2@v2.18.1";
const TRIGGERS: Readonly<Record<string, { readonly needs: readonly string[]; readonly may: readonly string[] }>> = {
  "nats-jetstream": {
    needs: ["natsServerMonitoringEndpoint", "account", "stream", "consumer"],
    may: ["lagThreshold", "activationLagThreshold", "useHttps"],
  },
  prometheus: {
    needs: ["serverAddress", "query", "threshold"],
    may: ["activationThreshold", "namespace", "ignoreNullValues", "unsafeSsl", "customHeaders", "timeout"],
  },
};
const METRIC_TYPES = ["AverageValue", "Value"];

interface ScaledObject {
  readonly kind?: string;
  readonly spec: {
    readonly triggers: readonly {
      readonly type: string;
      readonly metricType?: string;
      readonly metadata: Readonly<Record<string, unknown>>;
    }[];
  };
}

/** Every fault of the triggers in a filled-in chart, one line each. @throws Error when there are none to look at */
export function triggerFaults(objects: string): string[] {
  const scaled = parseAllDocuments(objects).map((document) => document.toJS() as ScaledObject | null)
    .filter((object) => object?.kind === "ScaledObject");
  if (scaled.length === 0) throw new Error("Cannot check scaling: the chart has no ScaledObject");
  return scaled.flatMap((object) =>
    object!.spec.triggers.flatMap(({ type, metricType, metadata }, i) => {
      const known = TRIGGERS[type];
      if (known === undefined) return [`trigger ${i}: no scaler "${type}" was looked at`];
      const faults = known.needs.filter((name) => !(name in metadata)).map((name) => `needs ${name}`);
      for (const [name, value] of Object.entries(metadata)) {
        if (![...known.needs, ...known.may].includes(name)) faults.push(`${name} is nothing it reads`);
        if (typeof value !== "string") faults.push(`${name} is no string`);
      }
      if (metricType !== undefined && !METRIC_TYPES.includes(metricType)) faults.push(`metricType ${metricType}`);
      return faults.map((fault) => `trigger ${i} (${type}): ${fault}`);
    })
  );
}

/** The JSON schema in a definition of custom resources, with no fields but those it names. */
export function schemaOf(definition: string): unknown {
  const { spec } = parse(definition) as { spec: { versions: { schema: { openAPIV3Schema: unknown } }[] } };
  return closed(spec.versions[0]!.schema.openAPIV3Schema);
}

function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== "object" || schema === null) return schema;
  const fields = Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, closed(value)]));
  const isObject = "properties" in fields && !("additionalProperties" in fields) &&
    !("x-kubernetes-preserve-unknown-fields" in fields);
  return isObject ? { ...fields, additionalProperties: false } : fields;
}

/** `deno task fleet-conf`: prints the configuration for the users named, or renews infra/nats/fleet.conf with --write. */
import { parseArgs } from "node:util";
import { fleetConf } from "./fleet_conf.ts";

/** Users of the committed page. */
export const EXAMPLE_USERS = { edges: ["edge_a", "edge_b"], workers: ["worker"], deliverers: ["deliverer"] };
export const FLEET_CONF = new URL("./fleet.conf", import.meta.url);

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      edges: { type: "string", default: EXAMPLE_USERS.edges.join() },
      workers: { type: "string", default: EXAMPLE_USERS.workers.join() },
      deliverers: { type: "string", default: EXAMPLE_USERS.deliverers.join() },
      write: { type: "boolean", default: false },
    },
  });
  if (values.write) await Deno.writeTextFile(FLEET_CONF, fleetConf(EXAMPLE_USERS));
  else {
    const { edges, workers, deliverers } = values;
    console.log(
      fleetConf({ edges: edges.split(","), workers: workers.split(","), deliverers: deliverers.split(",") }),
    );
  }
}

/** What nobody of a fleet can do: hear what is another's, or say what is another's to say. Rights and accounts, each alone. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { ensureNatsServer } from "../../infra/nats/binary.ts";
import { startNatsServer } from "@tessera/infra/nats";
import { run } from "@tessera/infra/process";
import {
  DURABLE_STREAM,
  edgeEvents,
  ensureStream,
  eventsSubject,
  LIVE_JOBS_WILDCARD,
  LIVE_STREAM,
  LIVE_STREAM_CONFIG,
  liveJobsSubject,
  newId,
  tilesSubject,
  WORKERS_BUCKET,
} from "@tessera/shared";
import assert from "node:assert/strict";
import { fleetConf } from "../../infra/nats/fleet_conf.ts";
import { EXAMPLE_USERS, FLEET_CONF } from "../../infra/nats/write_fleet_conf.ts";
import { pause, until } from "../support/fleet.ts";
import { connectAs, FLEET_SERVER, PASSWORD_VARIABLES, type User } from "./fleet_users.ts";

/** A connection, and what the server refused it. */
interface Client {
  readonly nc: NatsConnection;
  readonly refused: string[];
}

async function clientOf(base: string, user: User): Promise<Client> {
  const nc = await connectAs(base, user);
  const refused: string[] = [];
  void (async () => {
    for await (const status of nc.status()) if (status.type === "error") refused.push(status.error.message);
  })();
  return { nc, refused };
}

/** Whether the server takes what `act` asks for. */
async function isAllowed({ nc, refused }: Client, act: (nc: NatsConnection) => void): Promise<boolean> {
  const numBefore = refused.length;
  act(nc);
  // A refusal comes before the answer to the ping; it is read a moment later.
  await nc.flush();
  await pause(20);
  return refused.length === numBefore;
}

const listens = (subject: string) => (nc: NatsConnection) => {
  // A refusal is an error of the subscription; the connection tells of it as well.
  nc.subscribe(subject, { callback: () => {} }).closed.catch(() => {});
};
const says = (subject: string) => (nc: NatsConnection) => nc.publish(subject, "{}");

async function withServer(
  args: readonly string[],
  body: (open: (user: User) => Promise<Client>) => Promise<void>,
): Promise<void> {
  const nats = await startNatsServer({ args, env: PASSWORD_VARIABLES });
  const clients: Client[] = [];
  try {
    await body(async (user) => {
      const client = await clientOf(nats.url, user);
      clients.push(client);
      return client;
    });
  } finally {
    await Promise.all(clients.map(({ nc }) => nc.close()));
    await nats.stop();
  }
}

Deno.test("rights: fleet.conf is what the table of rights makes, and nats-server takes it", async () => {
  const text = await Deno.readTextFile(FLEET_CONF);
  assert.equal(text, fleetConf(EXAMPLE_USERS), "run: deno task fleet-conf --write");
  await run(await ensureNatsServer(), ["-t", "-c", FLEET_CONF.pathname], { env: PASSWORD_VARIABLES });
  assert.throws(() => fleetConf({ edges: ["a.b"], workers: [], deliverers: [] }), /a\.b/);
});

Deno.test("rights: nobody hears what is another's, nor says it", () =>
  withServer(FLEET_SERVER.args!, async (open) => {
    const [a, w, operator] = [await open("edge_a"), await open("worker"), await open("operator")];
    const jobId = newId("job");
    assert.equal(await isAllowed(a, listens(edgeEvents("edge_a.edge-1"))), true);
    for (const subject of [edgeEvents("edge_b.edge-1"), "tessera.edge.>", "_INBOX.edge_b.>", "_INBOX.>", "tessera.>"]) {
      assert.equal(await isAllowed(a, listens(subject)), false, subject);
    }
    for (const subject of [LIVE_JOBS_WILDCARD, "tessera.edge.>", "tessera.tiles.>", "_INBOX.edge_a.>", ">"]) {
      assert.equal(await isAllowed(w, listens(subject)), false, subject);
    }
    assert.equal(await isAllowed(a, says(`tessera.cancel.${jobId}`)), true);
    for (const subject of [eventsSubject("edge_b.edge-1", jobId), `$KV.${WORKERS_BUCKET}.worker.x`]) {
      assert.equal(await isAllowed(a, says(subject)), false, subject);
    }
    assert.equal(await isAllowed(w, says(eventsSubject("edge_b.edge-1", jobId))), true);
    for (
      const subject of [liveJobsSubject("fake"), `tessera.jobs.durable.fake.0.${jobId}`, `tessera.cancel.${jobId}`]
    ) {
      assert.equal(await isAllowed(w, says(subject)), false, subject);
    }
    // Jobs in the streams are nobody's to read, and nobody's to drop.
    await ensureStream(await jetstreamManager(operator.nc), LIVE_STREAM_CONFIG);
    for (const [{ nc }, stream] of [[a, LIVE_STREAM], [a, DURABLE_STREAM], [w, LIVE_STREAM]] as const) {
      const manager = await jetstreamManager(nc, { checkAPI: false, timeout: 500 });
      await assert.rejects(manager.streams.getMessage(stream, { seq: 1 }));
      await assert.rejects(manager.streams.delete(stream));
    }
    const managerOfA = await jetstreamManager(a.nc, { checkAPI: false, timeout: 500 });
    await assert.rejects(managerOfA.consumers.add(LIVE_STREAM, { durable_name: "thief", ack_policy: "explicit" }));
  }));

Deno.test("accounts: without any right set for its user, a worker still has no way to publish a job or to hear one", async () => {
  const folder = await Deno.makeTempDir();
  try {
    // The same accounts, but in them everybody may do everything.
    const open = fleetConf(EXAMPLE_USERS)
      .replaceAll(/permissions: \{[^}]*\{[^}]*\}[^}]*\{[^}]*\}[^}]*\}/g, "")
      .replaceAll(/^(RESPONSES|\w+_PUBLISH): [[{][^\]}]*[\]}]$/gm, "");
    assert.ok(!open.includes("permissions"));
    await Deno.writeTextFile(`${folder}/nats.conf`, open);
    await withServer(["--config", `${folder}/nats.conf`], async (connect) => {
      const [a, w, operator] = [await connect("edge_a"), await connect("worker"), await connect("operator")];
      const manager = await jetstreamManager(operator.nc);
      await ensureStream(manager, LIVE_STREAM_CONFIG);
      const numJobs = async () => (await manager.streams.info(LIVE_STREAM)).state.messages;
      await assert.rejects(jetstream(w.nc).publish(liveJobsSubject("fake"), "{}", { timeout: 1_000 }));
      assert.equal(await numJobs(), 0);

      const heard: string[] = [];
      w.nc.subscribe(">", { callback: (_error, msg) => void heard.push(msg.subject) });
      operator.nc.subscribe(">", { callback: (_error, msg) => void heard.push(`operator: ${msg.subject}`) });
      await Promise.all([w.nc.flush(), operator.nc.flush()]);
      await jetstream(a.nc).publish(liveJobsSubject("fake"), "{}");
      assert.equal(await numJobs(), 1);
      // Edges among themselves, and what goes from the one kind to the other.
      a.nc.publish(eventsSubject("edge_b.edge-1", "job-1"), "{}");
      const tiles = tilesSubject("worker.worker-1", "job-1");
      a.nc.publish(tiles, "pixels");
      await until(() => heard.includes(tiles), "the tile");
      assert.deepEqual(heard.filter((subject) => subject.startsWith("tessera.")), [tiles]);
      assert.deepEqual(
        heard.filter((subject) => subject.startsWith("operator: tessera.")),
        [`operator: ${liveJobsSubject("fake")}`],
      );
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

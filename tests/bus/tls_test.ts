/** TESSERA_NATS_URL with every scheme, certificates of both sides and credentials, against a real server. */
import { startNatsServer } from "@tessera/infra/nats";
import { run } from "@tessera/infra/process";
import { NATS_ACCESS_VARIABLES, readNatsAccess, silentLogger } from "@tessera/shared";
import { nkeys } from "@nats-io/nats-core";
import assert from "node:assert/strict";
import { Bus } from "../../edge/dispatch/bus.ts";
import { connectNats } from "../../gpu-worker/intake/connect.ts";
import { until } from "../support/fleet.ts";

const TLS_CONF = new URL("../../infra/nats/tls.conf", import.meta.url).pathname;
type Env = Parameters<typeof readNatsAccess>[0];
const NOBODY = { name: "", creds: "", ca: "", cert: "", key: "" };

/** An authority, a certificate for 127.0.0.1 and one for a client, made by openssl. */
async function certificates(
  folder: string,
): Promise<Record<"ca" | "cert" | "key" | "clientCert" | "clientKey", string>> {
  const openssl = (...args: string[]) => run("openssl", args, { cwd: folder });
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  await openssl("req", "-x509", ...ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority");
  for (const [name, subject] of [["server", "/CN=127.0.0.1"], ["client", "/CN=edge"]] as const) {
    await openssl("req", ...ec, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", subject);
    await Deno.writeTextFile(`${folder}/${name}.ext`, "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
    const signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", `${name}.ext`];
    await openssl("x509", "-req", "-in", `${name}.csr`, "-out", `${name}.pem`, ...signing);
  }
  const read = (name: string) => Deno.readTextFile(`${folder}/${name}`);
  const [ca, cert, key, clientCert, clientKey] = await Promise.all(
    ["ca.pem", "server.pem", "server.key", "client.pem", "client.key"].map(read),
  ) as [string, string, string, string, string];
  return { ca, cert, key, clientCert, clientKey };
}

Deno.test("tls: tls:// and wss:// with certificates of both sides; a server of an unknown authority is refused", async () => {
  const folder = await Deno.makeTempDir();
  const { ca, clientCert, clientKey } = await certificates(folder);
  // The page as it is, but for the port of the web socket: the machine's own choice here.
  const page = (await Deno.readTextFile(TLS_CONF)).replace("port: 8443", 'host: "127.0.0.1", port: -1');
  await Deno.writeTextFile(`${folder}/nats.conf`, page);
  const nats = await startNatsServer({
    args: ["--config", `${folder}/nats.conf`],
    env: { NATS_CERT: `${folder}/server.pem`, NATS_KEY: `${folder}/server.key`, NATS_CA: `${folder}/ca.pem` },
  });
  try {
    const access = { ...NOBODY, ca, cert: clientCert, key: clientKey };
    const tls = nats.url.replace(/^\w+:/, "tls:");
    const wss = nats.webSocketUrl!.replace(/^\w+:/, "wss:");
    for (const url of [tls, wss]) {
      const bus = new Bus({ url, access, name: "edge", log: silentLogger });
      bus.start();
      await until(() => bus.isConnected, `an edge over ${url}`);
      const worker = await connectNats(url, "worker", access);
      const heard = Promise.withResolvers<string>();
      worker.subscribe("a", { max: 1, callback: (_error, msg) => heard.resolve(msg.string()) });
      await worker.flush();
      bus.connection.publish("a", "over TLS");
      assert.equal(await heard.promise, "over TLS");
      await worker.close();
      await bus.close();
    }
    // In a process of its own: the client library may also throw where nobody can catch it.
    const { success, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", "--ext=ts", connectScript(tls)],
      cwd: new URL("../..", import.meta.url),
    }).output();
    assert.deepEqual([success, new TextDecoder().decode(stdout)], [false, ""]);
  } finally {
    await nats.stop();
    await Deno.remove(folder, { recursive: true });
  }
});

/** Connects without knowing the server's authority, and says so when that works. */
function connectScript(url: string): string {
  const connect = new URL("../../gpu-worker/intake/connect.ts", import.meta.url).href;
  const args = [url, "no authority", NOBODY].map((arg) => JSON.stringify(arg)).join(", ");
  return `import { connectNats } from "${connect}"; await connectNats(${args}); console.log("connected");`;
}

const base64url = (text: string) =>
  new TextEncoder().encode(text).toBase64({ alphabet: "base64url", omitPadding: true });

/** A NATS JWT: `issuer` says `claims` of `subject`. */
function jwt(issuer: nkeys.KeyPair, subject: nkeys.KeyPair, name: string, nats: Record<string, unknown>): string {
  const iss = issuer.getPublicKey();
  const claims = { jti: name, iat: Math.floor(Date.now() / 1000), iss, name, sub: subject.getPublicKey(), nats };
  const signed = `${base64url('{"typ":"JWT","alg":"ed25519-nkey"}')}.${base64url(JSON.stringify(claims))}`;
  const signature = issuer.sign(new TextEncoder().encode(signed));
  return `${signed}.${signature.toBase64({ alphabet: "base64url", omitPadding: true })}`;
}

Deno.test("credentials: a .creds file lets in, another authority's does not", async () => {
  const [operator, account, system, user, stranger] = [
    nkeys.createOperator(),
    nkeys.createAccount(),
    nkeys.createAccount(),
    nkeys.createUser(),
    nkeys.createAccount(),
  ];
  const limits = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, conn: -1, leaf: -1, wildcards: true };
  const accounts = [account, system].map((each) =>
    `${each.getPublicKey()}: ${jwt(operator, each, "tessera", { type: "account", version: 2, limits })}`
  );
  const rights = { pub: {}, sub: {}, subs: -1, data: -1, payload: -1, type: "user", version: 2 };
  const credsBy = (issuer: nkeys.KeyPair) =>
    `-----BEGIN NATS USER JWT-----\n${jwt(issuer, user, "edge", rights)}\n------END NATS USER JWT------\n\n` +
    `-----BEGIN USER NKEY SEED-----\n${new TextDecoder().decode(user.getSeed())}\n------END USER NKEY SEED------\n`;
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(
    `${folder}/nats.conf`,
    `operator: ${jwt(operator, operator, "o", { type: "operator", version: 2 })}\n` +
      `system_account: ${system.getPublicKey()}\nresolver: MEMORY\nresolver_preload: { ${accounts.join("\n")} }\n`,
  );
  await Deno.writeTextFile(`${folder}/edge.creds`, credsBy(account));
  const nats = await startNatsServer({ args: ["--config", `${folder}/nats.conf`] });
  try {
    const env = { ...Object.fromEntries(NATS_ACCESS_VARIABLES.map((name) => [name, ""])) } as Env;
    const access = readNatsAccess({ ...env, TESSERA_NATS_CREDS: `${folder}/edge.creds` }, Deno.readTextFileSync);
    const nc = await connectNats(nats.url, "edge", access);
    await nc.flush();
    await nc.close();
    await assert.rejects(connectNats(nats.url, "stranger", { ...access, creds: credsBy(stranger) }));
    await assert.rejects(connectNats(nats.url, "nobody", NOBODY));
    assert.throws(
      () => readNatsAccess({ ...env, TESSERA_NATS_CREDS: `${folder}/none` }, Deno.readTextFileSync),
      /TESSERA_NATS_CREDS=/,
    );
  } finally {
    await nats.stop();
    await Deno.remove(folder, { recursive: true });
  }
});

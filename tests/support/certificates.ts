/** An authority of one's own and a server's certificate by it, made by openssl. */
import { run } from "@tessera/infra/process";

export interface Certificates {
  /** PEM, each. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** @param names what the certificate is for: `DNS:example.org`, `IP:127.0.0.1` */
export async function makeCertificates(names: readonly string[]): Promise<Certificates> {
  const folder = await Deno.makeTempDir();
  try {
    const openssl = (...args: string[]) => run("openssl", args, { cwd: folder });
    const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    await openssl("req", "-x509", ...ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority");
    await openssl("req", ...ec, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=a server");
    await Deno.writeTextFile(`${folder}/server.ext`, `subjectAltName=${names.join(",")}\n`);
    const by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "server.ext"];
    await openssl("x509", "-req", "-in", "server.csr", "-out", "server.pem", ...by);
    const [ca, cert, key] = await Promise.all(
      ["ca.pem", "server.pem", "server.key"].map((name) => Deno.readTextFile(`${folder}/${name}`)),
    );
    return { ca: ca!, cert: cert!, key: key! };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** `deno task test:minio`: the same with a real MinIO, from PATH or built by Go (some minutes), its objects private. */
import { dataDir } from "../../infra/tools/paths.ts";
import { findOnPath, run, supervise } from "@tessera/infra/process";
import { AwsClient } from "aws4fetch";
import { fromStoreToCallback, WORD } from "./store_to_callback.ts";

const MODULE = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c";
const BUCKET = "photos";
const KEYS = { accessKey: "tessera-test", secretKey: "tessera-test-secret" };

async function ensureMinio(): Promise<string> {
  const found = await findOnPath("minio");
  if (found !== null) return found;
  const folder = `${dataDir()}/minio`;
  const binary = `${folder}/minio`;
  if ((await Deno.stat(binary).catch(() => null))?.isFile) return binary;
  const go = await findOnPath("go");
  if (go === null) throw new Error("Cannot test with MinIO: neither minio nor go is on PATH.");
  console.log("Building MinIO ...");
  await Deno.mkdir(folder, { recursive: true });
  const goBin = await Deno.realPath(folder);
  await run(go, ["install", MODULE], { env: { GOBIN: goBin, CGO_ENABLED: "0" }, inherit: true });
  return binary;
}

/** A port that is free now. */
function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

if (import.meta.main) {
  const binary = await ensureMinio();
  const folder = await Deno.makeTempDir();
  const url = `http://127.0.0.1:${freePort()}`;
  const client = new AwsClient({
    accessKeyId: KEYS.accessKey,
    secretAccessKey: KEYS.secretKey,
    region: "us-east-1",
    service: "s3",
  });
  /** @throws Error with what MinIO says */
  const put = async (path: string, body: BodyInit | null) => {
    const response = await client.fetch(`${url}/${path}`, { method: "PUT", body });
    const text = await response.text();
    if (!response.ok) throw new Error(`PUT ${path.split("/")[0]}: ${response.status} ${text}`);
  };
  let stop = () => Promise.resolve();
  try {
    await fromStoreToCallback({
      url,
      bucket: BUCKET,
      keys: KEYS,
      notify: async (hookUrl) => {
        const lines: string[] = [];
        const server = supervise(binary, ["server", "--address", new URL(url).host, folder], {
          env: {
            MINIO_ROOT_USER: KEYS.accessKey,
            MINIO_ROOT_PASSWORD: KEYS.secretKey,
            MINIO_BROWSER: "off",
            MINIO_NOTIFY_WEBHOOK_ENABLE_tessera: "on",
            MINIO_NOTIFY_WEBHOOK_ENDPOINT_tessera: hookUrl,
            MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_tessera: WORD,
          },
          onLine: (line) => lines.push(line),
        });
        stop = () => server.stop(10_000);
        const end = Date.now() + 60_000;
        while (!(await fetch(`${url}/minio/health/ready`).then((one) => one.ok, () => false))) {
          if (Date.now() > end) throw new Error(`MinIO does not come up:\n${lines.join("\n")}`);
          await new Promise((resolve) => setTimeout(resolve, 200));
        }
        await put(BUCKET, null);
        const configuration = `<NotificationConfiguration><QueueConfiguration><Id>tessera</Id>` +
          `<Queue>arn:minio:sqs:us-east-1:tessera:webhook</Queue><Event>s3:ObjectCreated:*</Event>` +
          `</QueueConfiguration></NotificationConfiguration>`;
        // Where events go is known to MinIO a moment after it is ready.
        const configure = async (): Promise<void> => {
          try {
            await put(`${BUCKET}?notification`, configuration);
          } catch (error) {
            if (Date.now() > end) throw error;
            await new Promise((resolve) => setTimeout(resolve, 200));
            await configure();
          }
        };
        await configure();
      },
      put: (key, bytes) => put(`${BUCKET}/${key.split("/").map(encodeURIComponent).join("/")}`, bytes),
    });
    console.log("ok: a picture put into MinIO was captioned, and the callback's signature is valid");
  } finally {
    await stop();
    await Deno.remove(folder, { recursive: true });
  }
}

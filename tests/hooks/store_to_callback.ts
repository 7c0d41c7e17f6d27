/** The whole way: a picture is put into a store, its event becomes a caption, the caption is told to a signed callback. */
import { ROOT } from "@tessera/infra/paths";
import { supervise } from "@tessera/infra/process";
import assert from "node:assert/strict";
import { demoPictures } from "../e2e/shared_stack.ts";
import { Fleet, until } from "../support/fleet.ts";
import { startReceiver } from "../webhooks/receiver.ts";
import { SECRET } from "../webhooks/support.ts";
import { verifyByPython } from "../webhooks/verify.ts";

/** The word that store and edge know. */
export const WORD = "a-word-that-both-sides-know";
const KEY = "new pictures/a picture & more (1).png";

/** A store of objects, as the test has it. */
export interface Store {
  readonly url: string;
  readonly bucket: string;
  /** null: objects are public. */
  readonly keys: { readonly accessKey: string; readonly secretKey: string } | null;
  /** Tells the store where its events go, and fails until there is somebody. */
  readonly notify: (hookUrl: string) => Promise<void>;
  readonly put: (key: string, bytes: Uint8Array<ArrayBuffer>) => Promise<void>;
}

export async function fromStoreToCallback(store: Store): Promise<void> {
  const [picture] = await demoPictures();
  const bytes = await Deno.readFile(picture!.path);
  const receiver = startReceiver();
  const access = store.keys === null ? {} : { access_key_env: "STORE_ACCESS", secret_key_env: "STORE_SECRET" };
  const sources = {
    store: {
      events: "s3",
      verify: { type: "token", secret_env: "STORE_WORD" },
      store: { url: `${store.url}/{bucket}/{key}`, ...access },
      // As the embedded model was trained to be asked.
      caption: {
        prompt: "Describe the picture.",
        webhook: receiver.url,
        webhook_events_filter: ["start", "completed"],
      },
    },
  };
  const hostOf = (url: string) => new URL(url).host;
  const env = {
    TESSERA_HOOKS: JSON.stringify({ sources }),
    TESSERA_WEBHOOK_SECRETS: SECRET,
    TESSERA_FETCH_TRUST: `${hostOf(store.url)}, ${hostOf(receiver.url)}`,
    STORE_WORD: WORD,
    STORE_ACCESS: store.keys?.accessKey ?? "",
    STORE_SECRET: store.keys?.secretKey ?? "",
  };
  await Fleet.run(async (fleet) => {
    await fleet.realWorker();
    const edge = await fleet.edge(env);
    const deliverer = supervise(
      Deno.execPath(),
      ["run", "--allow-all", "--no-check", `${ROOT}/edge/webhooks/main.ts`],
      {
        env: { ...env, TESSERA_NATS_URL: fleet.nats.url, TESSERA_SUPERVISED: "true" },
      },
    );
    try {
      await store.notify(`${edge.url}/v1/hooks/store`);
      await store.put(KEY, bytes);
      await until(() => receiver.received.length === 2, "both callbacks", 60_000);
      const checks = receiver.received.map(({ headers, body }) => ({ secret: SECRET, headers, body }));
      assert.deepEqual(await verifyByPython(checks), ["ok", "ok"]);
      const [start, end] = receiver.received.map(({ body }) => JSON.parse(body));
      assert.deepEqual([start.type, end.type], ["caption.started", "caption.completed"]);
      assert.equal(end.data.status, "succeeded", JSON.stringify(end.data.error));
      assert.equal(end.data.output.text, picture!.caption);
      assert.deepEqual(end.data.metadata, { bucket: store.bucket, key: KEY, source: "store" });
      // What was signed for the moment of the download is nobody's to know.
      for (const { body } of receiver.received) assert.doesNotMatch(body, /X-Amz-Signature/);
    } finally {
      await deliverer.stop(10_000);
    }
  });
  await receiver.close();
}

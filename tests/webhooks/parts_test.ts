/** Webhooks of a caption with several texts: one start, each text as it comes, one end when none is under way. */
import { silentLogger } from "@tessera/shared";
import assert from "node:assert/strict";
import { startEdge } from "../../edge/mod.ts";
import { CaptionAnswer } from "../../edge/openapi/caption_answers.ts";
import { parseSecrets } from "../../edge/webhooks/signature.ts";
import { testConfig } from "../edge/harness.ts";
import { Fleet, until } from "../support/fleet.ts";
import { png } from "../support/png_writer.ts";
import { startReceiver } from "./receiver.ts";
import { openCaptions, SECRET } from "./support.ts";

Deno.test("webhooks: several pictures are one start, an output for each, one end, whichever is through first", () =>
  Fleet.run(async (fleet) => {
    const receiver = startReceiver();
    const deliverer = await openCaptions(fleet.nats.url, {});
    const config = testConfig(fleet.nats.url, {
      config: { webhookSecrets: parseSecrets(SECRET), allowPrivateUrls: true },
    });
    const edge = await startEdge({ config, log: silentLogger });
    await fleet.worker({ latencyMs: 3 });
    await until(() => edge.deps.directory.isServed(), "a worker");
    const picture = async (width: number) => `data:image/png;base64,${(await png(width, 20, (x) => x)).toBase64()}`;
    const submit = async (events: readonly string[], images: readonly string[]) => {
      const body = { images, prompt: "Go on", max_tokens: 40, webhook: receiver.url, webhook_events_filter: events };
      const response = await fetch(`${edge.url}/v1/captions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      const text = await response.text();
      assert.ok(response.ok, text);
      return CaptionAnswer.parse(JSON.parse(text));
    };
    const images = [await picture(20), "data:image/png;base64,AAAA", await picture(60), await picture(100)];
    const { id } = await submit(["start", "output", "completed"], images);
    const quiet = await submit(["completed"], [await picture(30), await picture(40)]);
    const isEnded = (of: string) => receiver.received.some((one) => one.id === `msg_${of}_completed`);
    await until(() => isEnded(id) && isEnded(quiet.id), "both ends", 30_000);
    await deliverer.settled(id);
    const heard = receiver.received.filter((one) => one.id.includes(id));
    const ids = heard.map((one) => one.id);
    assert.equal(new Set(ids).size, ids.length, "the same twice");
    assert.deepEqual([ids[0], ids.at(-1)], [`msg_${id}_start`, `msg_${id}_completed`]);
    for (const { body } of heard.slice(1, -1)) assert.equal(JSON.parse(body).type, "caption.output");
    const start = JSON.parse(heard[0]!.body).data;
    assert.deepEqual(start.outputs.map(({ status }: { status: string }) => status), [
      "processing",
      "failed",
      "processing",
      "processing",
    ]);
    const end = CaptionAnswer.parse(JSON.parse(heard.at(-1)!.body).data);
    assert.deepEqual(end.outputs.map(({ status }) => status), ["succeeded", "failed", "succeeded", "succeeded"]);
    assert.deepEqual(end.outputs.map(({ text }) => text?.length ?? null), [40, null, 40, 40]);
    assert.deepEqual([end.status, end.usage?.completion_tokens], ["succeeded", 120]);
    assert.deepEqual(receiver.received.filter((one) => one.id.includes(quiet.id)).length, 1);
    await deliverer.close();
    await edge.close();
    await receiver.close();
  }));

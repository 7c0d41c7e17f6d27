/** The whole path as OpenAI's own clients see it: npm `openai` and PyPI `openai`, streaming and not. */
import { ensurePythonClient } from "../../infra/tools/python.ts";
import OpenAI from "openai";
import assert from "node:assert/strict";
import { about, demoPictures, withStack } from "./shared_stack.ts";

const QUESTION = "Describe the picture.";

Deno.test("OpenAI clients: captions over the whole path", async (t) => {
  const pictures = await demoPictures();
  await withStack({}, async (stack) => {
    const client = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: "none", maxRetries: 0 });
    const model = (await client.models.list()).data[0]?.id ?? "";

    await t.step("npm: models", async () => {
      assert.equal(model, "internvl3-tiny");
      assert.equal((await client.models.retrieve(model)).object, "model");
    });

    let mostPieces = 0;
    for (const picture of pictures) {
      await t.step(`npm: streams the right caption of ${picture.name}`, async () => {
        const stream = await client.chat.completions.create({
          model,
          messages: [about(picture.url, QUESTION)],
          stream: true,
          stream_options: { include_usage: true },
        });
        const pieces: string[] = [];
        let finish: string | null = null;
        let usage: OpenAI.CompletionUsage | null = null;
        for await (const chunk of stream) {
          const choice = chunk.choices[0];
          if (choice?.delta.content) pieces.push(choice.delta.content);
          finish = choice?.finish_reason ?? finish;
          usage = chunk.usage ?? usage;
        }
        assert.equal(pieces.join(""), picture.caption);
        assert.equal(finish, "stop");
        mostPieces = Math.max(mostPieces, pieces.length);
        assert.ok(usage !== null && usage.completion_tokens >= pieces.length);
      });
    }

    await t.step("npm: answers came in pieces", () => {
      // What waits for a slow reader is sent as one piece, so the number differs from run to run.
      assert.ok(mostPieces > 3, `at most ${mostPieces} pieces`);
    });

    await t.step("npm: not streaming, with usage and timings", async () => {
      const picture = pictures[0];
      assert.ok(picture !== undefined);
      const answer = await client.chat.completions.create({ model, messages: [about(picture.url, QUESTION)] });
      assert.equal(answer.choices[0]?.message.content, picture.caption);
      assert.equal(answer.choices[0]?.message.role, "assistant");
      const usage = answer.usage;
      assert.ok(usage !== undefined && usage.total_tokens === usage.prompt_tokens + usage.completion_tokens);
    });

    await t.step("npm: several turns about one picture", async () => {
      const picture = pictures[0];
      assert.ok(picture !== undefined);
      const answer = await client.chat.completions.create({
        model,
        messages: [
          about(picture.url, QUESTION),
          { role: "assistant", content: picture.caption },
          { role: "user", content: "How many shapes are there?" },
        ],
      });
      assert.match(answer.choices[0]?.message.content ?? "", /^[A-Z][a-z]+\.$/);
    });

    await t.step("npm: seeded sampling repeats itself", async () => {
      const ask = async (seed: number) => {
        const messages = [about(pictures[0]?.url ?? "", QUESTION)];
        const answer = await client.chat.completions.create({ model, messages, temperature: 1.8, top_p: 0.99, seed });
        return answer.choices[0]?.message.content;
      };
      assert.equal(await ask(11), await ask(11));
      const others = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(ask));
      assert.ok(new Set(others).size > 1, "eight seeds at temperature 1.8 all gave the same text");
    });

    await t.step("npm: max_tokens and stop strings end an answer", async () => {
      const messages = [about(pictures[0]?.url ?? "", QUESTION)];
      const short = await client.chat.completions.create({ model, messages, max_completion_tokens: 2 });
      assert.equal(short.choices[0]?.finish_reason, "length");
      assert.equal(short.usage?.completion_tokens, 2);
      const stop = (pictures[0]?.caption ?? "").split(" ")[2] ?? "";
      const cut = await client.chat.completions.create({ model, messages, stop: [stop] });
      assert.equal(cut.choices[0]?.finish_reason, "stop");
      assert.equal(cut.choices[0]?.message.content, pictures[0]?.caption.split(stop)[0]);
    });

    await t.step("npm: files", async () => {
      const bytes = await Deno.readFile(pictures[0]!.path);
      const uploaded = await client.files.create({ file: new File([bytes], pictures[0]!.name), purpose: "vision" });
      assert.deepEqual([uploaded.bytes, uploaded.filename], [bytes.length, pictures[0]!.name]);
      assert.deepEqual(await client.files.retrieve(uploaded.id), uploaded);
      const ids: string[] = [];
      for await (const { id } of client.files.list({ purpose: "vision", limit: 1 })) ids.push(id);
      assert.deepEqual(ids, [uploaded.id]);
      const content = await client.files.content(uploaded.id);
      assert.deepEqual(new Uint8Array(await content.arrayBuffer()), bytes);
      assert.equal((await client.files.delete(uploaded.id)).deleted, true);
      await assert.rejects(client.files.retrieve(uploaded.id), { status: 404 });
    });

    await t.step("npm: batches", async () => {
      const lines = pictures.map(({ name, url }) =>
        JSON.stringify({
          custom_id: name,
          method: "POST",
          url: "/v1/chat/completions",
          body: { model, messages: [about(url, QUESTION)] },
        })
      );
      const file = await client.files.create({ file: new File([lines.join("\n")], "in.jsonl"), purpose: "batch" });
      const wish = { endpoint: "/v1/chat/completions", completion_window: "24h" } as const;
      let batch = await client.batches.create({ input_file_id: file.id, ...wish, metadata: { of: "a test" } });
      const end = performance.now() + 60_000;
      while (batch.status !== "completed" && performance.now() < end) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        batch = await client.batches.retrieve(batch.id);
      }
      assert.deepEqual(batch.request_counts, { total: pictures.length, completed: pictures.length, failed: 0 });
      assert.deepEqual(batch.metadata, { of: "a test" });
      const text = await (await client.files.content(batch.output_file_id!)).text();
      const answers = text.trimEnd().split("\n").map((line) => JSON.parse(line));
      assert.deepEqual(
        answers.map(({ custom_id, response }) => [custom_id, response.body.choices[0].message.content]),
        pictures.map(({ name, caption }) => [name, caption]),
      );
      const ids: string[] = [];
      for await (const { id } of client.batches.list({ limit: 1 })) ids.push(id);
      assert.deepEqual(ids, [batch.id]);
      await assert.rejects(client.batches.cancel(batch.id), { status: 409 });
    });

    await t.step("PyPI: streaming and not", async () => {
      const python = await ensurePythonClient();
      const script = new URL("openai_client.py", import.meta.url).pathname;
      const cases = pictures.map(({ url, caption }) => ({ url, caption }));
      const child = new Deno.Command(python, {
        args: [script, `${stack.url}/v1`, model, QUESTION],
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(JSON.stringify(cases)));
      await writer.close();
      const { code, stdout, stderr } = await child.output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
      assert.match(
        new TextDecoder().decode(stdout),
        new RegExp(`${cases.length} pictures, streamed and not, files and batches: all right`),
      );
    });
  });
});

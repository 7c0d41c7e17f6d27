/** Every mode of the vendor's quick start, through every client: npm and PyPI `openai`, Vercel's `ai`, LangChain, the CLI. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ROOT } from "@tessera/infra/paths";
import { generateText, streamText } from "ai";
import assert from "node:assert/strict";
import OpenAI from "openai";
import { ensurePythonClient } from "../../infra/tools/python.ts";
import { command } from "./command.ts";
import { drawnModes, type Mode, modes, writeMotion } from "./modes.ts";
import { about, demoPictures, withStack } from "./shared_stack.ts";

const MODEL = "internvl3-tiny";
const DESCRIBE = "Describe the picture.";

Deno.test("every mode through every client", async (t) => {
  const folder = await Deno.makeTempDir();
  const videoPath = `${folder}/motion.mp4`;
  await writeMotion(videoPath);
  const videoUrl = `data:video/mp4;base64,${(await Deno.readFile(videoPath)).toBase64()}`;
  const pictures = await demoPictures();
  const [square, , tall] = pictures;
  assert.ok(square !== undefined && tall !== undefined);
  const all = [...modes([square, tall], videoUrl), ...await drawnModes()];
  /** Clients that were right, by mode. */
  const right = new Map(all.map(({ name }) => [name, new Set<string>()]));

  await withStack({}, async (stack) => {
    const url = `${stack.url}/v1`;

    await t.step("npm openai, whole and streamed", async () => {
      const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
      for (const { name, messages, answer, extra } of all) {
        const body = { model: MODEL, messages, ...extra };
        const whole = await client.chat.completions.create({ ...body, stream: false });
        assert.equal(whole.choices[0]?.message.content, answer, name);
        let streamed = "";
        for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) {
          streamed += chunk.choices[0]?.delta.content ?? "";
        }
        assert.equal(streamed, answer, `${name}, streamed`);
        right.get(name)!.add("npm openai");
      }
    });

    await t.step("npm openai: pictures combined are one placeholder for the tiles of both", async () => {
      const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
      const content = [
        ...about(square.url, "").content.slice(0, 1),
        ...about(tall.url, "What is in this picture?").content,
      ];
      const usage = async (combine_images: boolean) => {
        const body = {
          model: MODEL,
          messages: [{ role: "user" as const, content }],
          mm_processor_kwargs: { combine_images },
        };
        return (await client.chat.completions.create(body)).usage?.prompt_tokens ?? 0;
      };
      // <img>, </img> and a newline less.
      assert.equal(await usage(false) - await usage(true), 3);
    });

    await t.step("npm openai: a batch of all of them", async () => {
      const body = { model: MODEL, requests: all.map(({ messages, extra }) => ({ messages, ...extra })) };
      const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
      // deno-lint-ignore no-explicit-any -- JSON
      const { data } = await client.post<any>("/batch/chat/completions", { body });
      assert.deepEqual(
        // deno-lint-ignore no-explicit-any -- JSON
        data.map((item: any) => item.choices?.[0].message.content ?? item.error.message),
        all.map(({ answer }) => answer),
      );
    });

    await t.step("Vercel's ai", async () => {
      const model = createOpenAICompatible({ name: "tessera", baseURL: url })(MODEL);
      const file = await Deno.readFile(square.path);
      const content = [
        { type: "file" as const, data: file, mediaType: "image/png" },
        { type: "text" as const, text: DESCRIBE },
      ];
      const messages = [{ role: "user" as const, content }];
      assert.equal((await generateText({ model, messages })).text, square.caption);
      let streamed = "";
      for await (const piece of streamText({ model, messages }).textStream) streamed += piece;
      assert.equal(streamed, square.caption);
    });

    await t.step("PyPI openai and LangChain, whole and streamed", async () => {
      const python = await ensurePythonClient();
      const script = new URL("modes_client.py", import.meta.url).pathname;
      const { code, text } = await command(python, [script, url, MODEL], JSON.stringify(all));
      assert.equal(code, 0, text);
      assert.match(text, new RegExp(`${all.length} modes, five ways: 0 wrong`));
      for (const clients of right.values()) clients.add("PyPI openai").add("LangChain");
    });

    const cli = (args: string[], input = "") =>
      command(Deno.execPath(), ["run", "--allow-all", `${ROOT}/infra/cli/main.ts`, ...args, "--url", stack.url], input);

    await t.step("CLI: chat with pictures separate and combined, and about a video", async () => {
      const images = ["--image", square.path, "--image", tall.path];
      const compared = await cli(["chat", ...images], "Which picture has more shapes?\n");
      assert.match(compared.text, /The first picture\./);
      const combined = await cli(["chat", ...images, "--combine"], `${DESCRIBE}\n`);
      assert.equal(combined.code, 0, combined.text);
      const moved = await cli(["chat", "--video", videoPath, "--segments", "6"], "Which way does the shape move?\n");
      assert.match(moved.text, /To the right\./);
    });

    await t.step("CLI: every mode as a conversation", async () => {
      for (const mode of all) {
        const { args, questions } = await asConversation(mode, folder);
        const { code, text } = await cli(["chat", ...args], `${questions.join("\n")}\n`);
        assert.equal(code, 0, text);
        assert.ok(text.includes(mode.answer), `${mode.name}: ${text}`);
        right.get(mode.name)!.add("CLI");
      }
    });

    await t.step("CLI: captions as lines, in order; failures in the exit code; a second run goes on", async () => {
      const output = `${folder}/captions.jsonl`;
      const paths = pictures.map(({ path }) => path);
      const args = ["caption", paths[0]!, "/nowhere.png", ...paths.slice(1), "--concurrency", "3"];
      const printed = await cli([...args, "--jsonl"]);
      assert.equal(printed.code, 1);
      const lines = printed.text.trim().split("\n").map((line) => JSON.parse(line));
      assert.deepEqual(lines.map(({ picture }) => picture), [paths[0], "/nowhere.png", ...paths.slice(1)]);
      assert.match(lines[1].error, /no such file/);
      assert.deepEqual(
        lines.filter(({ caption }) => caption).map(({ caption }) => caption),
        pictures.map((p) => p.caption),
      );

      assert.equal((await cli(["caption", paths[0]!, "--output", output])).code, 0);
      assert.equal((await cli(["caption", ...paths, "--output", output])).code, 0);
      const kept = (await Deno.readTextFile(output)).trim().split("\n").map((line) => JSON.parse(line).picture);
      assert.deepEqual(kept, paths);
    });

    const clients = ["npm openai", "PyPI openai", "LangChain", "CLI"];
    for (const [name, those] of right) {
      const told = clients.map((client) => `${client} ${those.has(client) ? "right" : "WRONG"}`).join(", ");
      await t.step(`${name}: ${told}`, () => assert.equal(those.size, clients.length));
    }
  });
  await Deno.remove(folder, { recursive: true });
});

/** What `tessera chat` is called with and told for a mode; its pictures and videos become files. */
async function asConversation({ messages, extra }: Mode, folder: string) {
  const args: string[] = [];
  const questions: string[] = [];
  for (const { role, content } of messages) {
    if (role !== "user") continue;
    const parts = typeof content === "string" ? [{ type: "text", text: content }] : content;
    for (const part of parts) {
      if (part.type === "text") continue;
      const { url, num_segments } = part[part.type];
      const path = `${folder}/${crypto.randomUUID()}`;
      await Deno.writeFile(path, Uint8Array.fromBase64(url.slice(url.indexOf(",") + 1)));
      args.push(part.type === "image_url" ? "--image" : "--video", path);
      if (num_segments !== undefined) args.push("--segments", String(num_segments));
    }
    questions.push(parts.at(-1).text);
  }
  if (extra["mm_processor_kwargs"] !== undefined) args.push("--combine");
  return { args, questions };
}

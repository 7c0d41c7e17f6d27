/** The quick start's page is true: each of its snippets and commands, taken from the page, runs against a stack. */
import { ROOT } from "@tessera/infra/paths";
import assert from "node:assert/strict";
import { ensurePythonClient } from "../../infra/tools/python.ts";
import { command } from "./command.ts";
import { writeMotion } from "./modes.ts";
import { demoPictures, withStack } from "./shared_stack.ts";

const PAGE = new URL("../../edge/QUICKSTART.md", import.meta.url);
/** Of the vendor's code, that is shown beside ours. */
const VENDOR = /model\.(batch_)?chat\(|generation_config = /;

Deno.test("quick start: every snippet and command of the page runs", async (t) => {
  const page = await Deno.readTextFile(PAGE);
  const sections = page.split(/^## /m);
  const snippetsOf = (text: string) => [...text.matchAll(/```python\n(.*?)```/gs)].map((match) => match[1]!);
  const ours = (text: string) => snippetsOf(text).filter((snippet) => !VENDOR.test(snippet));
  // Calls that stand in the text, such as those of the settings.
  const inline = [...page.matchAll(/`(ask\([^`]*\))`/g)].map((match) => match[1]!);
  const commands = [...page.matchAll(/`tessera ([^`]+)`/g)].map((match) => match[1]!);
  for (const section of sections.slice(2)) {
    assert.ok(snippetsOf(section).some((snippet) => VENDOR.test(snippet)), `nothing of the vendor's: ${section}`);
    assert.ok(ours(section).length > 0, `nothing of ours: ${section}`);
  }

  const [square, wide, tall] = await demoPictures();
  const folder = await Deno.makeTempDir();
  await Deno.copyFile(square!.path, `${folder}/image1.jpg`);
  await Deno.copyFile(tall!.path, `${folder}/image2.jpg`);
  await writeMotion(`${folder}/red-panda.mp4`);

  try {
    await withStack({}, async (stack) => {
      await t.step("snippets, one after the other", async () => {
        const video = `data:video/mp4;base64,${(await Deno.readFile(`${folder}/red-panda.mp4`)).toBase64()}`;
        const pictures = { url: square!.url, url1: square!.url, url2: tall!.url, urls: [square!.url, wide!.url] };
        const run = async (snippets: string[], names: Record<string, unknown>) => {
          const task = { base_url: stack.url, model: "internvl3-tiny", names, snippets };
          const script = new URL("quickstart_client.py", import.meta.url).pathname;
          const { code, text } = await command(await ensurePythonClient(), [script], JSON.stringify(task));
          assert.equal(code, 0, text);
          const { values, responses } = JSON.parse(text.trim().split("\n").at(-1)!);
          // Each ends with a question, but for the first, which defines, and the batch, which keeps its answers.
          return { answers: values.filter((value: unknown) => value !== null) as string[], responses };
        };
        const head = ours(sections[0]!);
        const body = sections.slice(2).flatMap(ours);
        const isVideo = (snippet: string) => snippet.includes("video_url");
        const { answers, responses } = await run([...head, ...body.filter((snippet) => !isVideo(snippet))], pictures);
        const filmed = await run([...head, ...body.filter(isVideo)], { url: video });
        const said = await run([...head, ...inline], { messages: [{ role: "user", content: "Hello!" }] });
        assert.equal(answers.length + filmed.answers.length + said.answers.length, body.length + inline.length - 1);
        for (const answer of [...answers, ...filmed.answers, ...said.answers, ...responses]) {
          assert.ok(typeof answer === "string" && answer.length > 0, JSON.stringify(answer));
        }
        assert.equal(responses.length, pictures.urls.length);
      });

      for (const line of commands) {
        await t.step(`tessera ${line}`, async () => {
          const files = ["image1.jpg", "image2.jpg"].map((name) => `${folder}/${name}`);
          const args = line.split(" ").flatMap((word) =>
            word === "*.jpg" ? files : /\.(jpg|mp4)$/.test(word) ? [`${folder}/${word}`] : [word]
          );
          const cli = ["run", "--allow-all", `${ROOT}/infra/cli/main.ts`, ...args, "--url", stack.url];
          const { code, text } = await command(Deno.execPath(), cli, "Describe the picture.\n");
          assert.equal(code, 0, text);
          assert.match(text, /[a-z]{2,} [a-z]{2,}/);
        });
      }
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

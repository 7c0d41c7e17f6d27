/** The stack's life: a worker that dies loses no answer, no worker is a 503, Ctrl-C drains, the command line speaks. */
import assert from "node:assert/strict";
import { ROOT } from "@tessera/infra/paths";
import { startStack } from "@tessera/infra/stack";
import { about, demoPictures, post, withStack } from "./shared_stack.ts";

const MODEL = "internvl3-tiny";

Deno.test("a worker killed in the middle: every answer arrives, whole and right", async () => {
  const pictures = await demoPictures();
  await withStack({ numWorkers: 2 }, async (stack) => {
    const undisturbed = new Map<string, string>();
    for (const { url, name } of pictures) {
      const { json } = await post(stack.url, { model: MODEL, messages: [about(url, "Describe the picture.")] });
      undisturbed.set(name, json.choices[0].message.content);
    }
    const [victim] = stack.workerPids();
    assert.ok(victim !== undefined);
    let numStarted = 0;
    const answers = Array.from({ length: 48 }, async (_, index) => {
      const picture = pictures[index % pictures.length];
      assert.ok(picture !== undefined);
      const response = await fetch(`${stack.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: MODEL, stream: true, messages: [about(picture.url, "Describe the picture.")] }),
      });
      assert.equal(response.status, 200);
      if (++numStarted === 4) Deno.kill(victim, "SIGKILL");
      let text = "";
      for (const line of (await response.text()).split("\n")) {
        if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
        const chunk = JSON.parse(line.slice(6));
        assert.equal(chunk.error, undefined, line);
        text += chunk.choices[0]?.delta.content ?? "";
      }
      assert.equal(text, undisturbed.get(picture.name));
    });
    await Promise.all(answers);
  });
});

Deno.test("start serves, the command line talks to it, Ctrl-C stops all of it", async (t) => {
  const [picture] = await demoPictures();
  assert.ok(picture !== undefined);
  const start = new Deno.Command(Deno.execPath(), {
    args: ["task", "start"],
    cwd: ROOT,
    env: { TESSERA_PORT: "0", NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const output = start.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let printed = "";
  while (!/serves at (http:\S+)\. /.test(printed)) {
    const { value, done } = await output.read();
    assert.ok(!done, printed);
    printed += value;
  }
  const url = /serves at (http:\S+)\. /.exec(printed)?.[1] ?? "";

  await t.step("caption prints the words, the grid and the stages", async () => {
    const { code, text } = await tessera(["caption", picture.path, "--url", url]);
    assert.equal(code, 0, text);
    assert.ok(text.includes(picture.caption), text);
    assert.match(text, /\d+x\d+ -> .*tile/);
    for (const stage of ["decode", "tile", "queue", "vision", "prefill", "generate"]) {
      assert.match(text, new RegExp(`${stage} [\\d.]+ ms`));
    }
  });

  await t.step("chat holds a conversation about a picture", async () => {
    const { code, text } = await tessera(
      ["chat", "--image", picture.path, "--url", url],
      "Describe the picture.\nHow many shapes are there?\n\n",
    );
    assert.equal(code, 0, text);
    assert.ok(text.includes(picture.caption), text);
    assert.match(text, /(One|Two|Three|Four)\./);
  });

  await t.step("a missing file is told by name, the others are captioned", async () => {
    const { code, text } = await tessera(["caption", "/nowhere/a.png", picture.path, "--url", url]);
    assert.equal(code, 1);
    assert.match(text, /Cannot open \/nowhere\/a\.png: no such file\./);
    assert.ok(text.includes(picture.caption));
  });

  await t.step("Ctrl-C finishes what streams, then ends with code 0", async () => {
    const answer = post(url, { model: MODEL, messages: [about(picture.url, "Describe the picture.")] });
    await new Promise((resolve) => setTimeout(resolve, 5));
    start.kill("SIGINT");
    const { status, json } = await answer;
    assert.ok(status === 200 || status === 503, JSON.stringify(json));
    for (let read = await output.read(); !read.done; read = await output.read()) printed += read.value;
    assert.equal((await start.status).code, 0, printed);
    assert.match(printed, /Stopped\./);
    await assert.rejects(fetch(`${url}/healthz`));
  });

  await t.step("without a server the command line says how to start one", async () => {
    const { code, text } = await tessera(["caption", picture.path, "--url", url]);
    assert.equal(code, 1);
    assert.match(text, /No server answers at .*deno task start/);
  });
});

Deno.test("what keeps the stack from starting is told in one line", async () => {
  const start = (env: Record<string, string>, port = 0) => startStack({ port, env });
  await assert.rejects(start({ TESSERA_MODEL: "/nowhere" }), /worker: Cannot find checkpoint \/nowhere/);
  await assert.rejects(start({ TESSERA_DEVICE: "cuda" }), /worker: Cannot open the engine: device is cuda/);
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await assert.rejects(start({}, taken.addr.port), /edge: .*(in use|EADDRINUSE)/);
  taken.close();
});

/** Runs the command line and returns its exit code and all it printed. */
async function tessera(args: string[], input = ""): Promise<{ code: number; text: string }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", `${ROOT}/infra/cli/main.ts`, ...args],
    env: { NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

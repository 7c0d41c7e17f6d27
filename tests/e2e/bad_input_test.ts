/** Bad input over the whole path: the right status and code each time, and the stack serves on as if nothing was. */
import assert from "node:assert/strict";
import { about, demoPictures, post, withStack } from "./shared_stack.ts";

const MODEL = "internvl3-tiny";
const hello = { role: "user", content: "Hello, who are you?" };
const picture = (url: string) => ({ model: MODEL, messages: [about(url, "Describe the picture.")] });
const data = (bytes: Uint8Array) => `data:image/png;base64,${bytes.toBase64()}`;

Deno.test("bad input: an error of OpenAI's shape each time, and good answers between", async (t) => {
  const [good] = await demoPictures();
  assert.ok(good !== undefined);
  const bytes = await Deno.readFile(good.path);

  const cases: [name: string, body: unknown, status: number, code: string, param?: string][] = [
    ["not JSON", "{", 400, "invalid_json"],
    ["not an object", "[]", 400, "invalid_request"],
    ["no messages", { model: MODEL }, 400, "invalid_request", "messages"],
    ["empty messages", { model: MODEL, messages: [] }, 400, "invalid_request", "messages"],
    [
      "unknown role",
      { model: MODEL, messages: [{ role: "wizard", content: "x" }] },
      400,
      "invalid_request",
      "messages[0].role",
    ],
    [
      "temperature out of range",
      { model: MODEL, messages: [hello], temperature: 9 },
      400,
      "invalid_request",
      "temperature",
    ],
    [
      "tools asked for",
      { model: MODEL, messages: [hello], tools: [{ type: "function", function: { name: "f" } }] },
      400,
      "unsupported_parameter",
      "tools",
    ],
    ["unknown model", { model: "gpt-5", messages: [hello] }, 404, "model_not_found", "model"],
    [
      "text instead of a picture",
      picture(data(new TextEncoder().encode("hello"))),
      400,
      "image_unsupported_format",
      "messages[0].content[0]",
    ],
    ["an empty picture", picture("data:image/png;base64,"), 400, "image_corrupt", "messages[0].content[0]"],
    [
      "a picture cut short",
      picture(data(bytes.subarray(0, bytes.length >> 1))),
      400,
      "image_corrupt",
      "messages[0].content[0]",
    ],
    ["a URL that is none", picture("not a url"), 400, "image_url_invalid", "messages[0].content[0]"],
    ["a private address", picture("https://127.0.0.1/x.png"), 400, "image_url_forbidden", "messages[0].content[0]"],
    [
      "a prompt over the context",
      { model: MODEL, messages: [{ role: "user", content: "shape ".repeat(20_000) }] },
      400,
      "context_length_exceeded",
    ],
  ];

  await withStack({}, async (stack) => {
    const works = async () => {
      const { status, json } = await post(stack.url, picture(good.url));
      assert.equal(status, 200, JSON.stringify(json));
      assert.equal(json.choices[0].message.content, good.caption);
    };
    for (const [name, body, status, code, param] of cases) {
      for (const stream of [false, true]) {
        await t.step(`${name}${stream ? ", streaming" : ""}`, async () => {
          const sent = typeof body === "string" || Array.isArray(body) ? body : { ...body as object, stream };
          const answer = await post(stack.url, sent);
          assert.equal(answer.status, status, JSON.stringify(answer.json));
          assert.equal(answer.json.error.code, code, JSON.stringify(answer.json));
          if (param !== undefined) assert.equal(answer.json.error.param, param);
          assert.ok(answer.json.error.message.length > 10);
        });
      }
    }
    await t.step("a good request is answered after all of them", works);

    await t.step("the wrong content type and the wrong route", async () => {
      const form = await post(stack.url, "a=b", { "content-type": "application/x-www-form-urlencoded" });
      assert.equal(form.status, 415);
      const lost = await fetch(`${stack.url}/v1/nothing`);
      assert.equal(lost.status, 404);
      assert.equal((await lost.json()).error.code, "not_found");
    });

    await t.step("clients that leave at any moment cost nothing that lasts", async () => {
      for (const wait of [0, 1, 5, 10, 20, 40, 80]) {
        const stop = new AbortController();
        const body = JSON.stringify({ ...picture(good.url), stream: true });
        const headers = { "content-type": "application/json" };
        const answer = fetch(`${stack.url}/v1/chat/completions`, { method: "POST", headers, body, signal: stop.signal })
          .then((response) => response.text()).catch(() => "left");
        await new Promise((resolve) => setTimeout(resolve, wait));
        stop.abort();
        await answer;
      }
      await works();
    });

    await t.step("requests of all kinds at once do not disturb each other", async () => {
      const answers = await Promise.all(
        Array.from({ length: 40 }, async (_, index) => {
          if (index % 2 === 0) return await works();
          const [, body, status] = cases[index % cases.length] ?? ["", "{", 400];
          assert.equal((await post(stack.url, body)).status, status);
        }),
      );
      assert.equal(answers.length, 40);
    });
  });
});

/** `deno task demo`: set-up, the stack on a free port, captions of the bundled pictures, and everything stopped again. */
import { captionOne } from "../cli/caption.ts";
import { firstModel } from "../cli/client.ts";
import { ROOT } from "./paths.ts";
import { setUp } from "./setup.ts";
import { startStack } from "./stack.ts";
import { bold, dim, fail, step, write } from "./terminal.ts";

const PROMPT = "Describe the picture.";

async function main(): Promise<void> {
  await setUp({ forTests: false });
  const stack = await step(
    "NATS, a worker and an edge on loopback",
    (progress) => startStack({ port: 0, env: { TESSERA_HOST: "127.0.0.1" }, progress }),
  );
  try {
    const model = await firstModel(stack.url);
    const pictures = Deno.args.length > 0 ? Deno.args : await bundledPictures();
    console.log(`\n${model} at ${stack.url}: "${PROMPT}"\n`);
    for (const picture of pictures) {
      write(`${bold(picture.slice(picture.lastIndexOf("/") + 1))}\n  `);
      await captionOne({ url: stack.url, pictures, prompt: PROMPT }, model, picture);
    }
    console.log(
      `\nThe same by hand, while \`deno task start\` runs:\n\n${curlLine(model, pictures[0] ?? "photo.png")}\n`,
    );
  } finally {
    await stack.stop();
  }
  console.log(dim("Everything that was started is stopped."));
}

async function bundledPictures(): Promise<string[]> {
  const captions = JSON.parse(await Deno.readTextFile(`${ROOT}/infra/demo/captions.json`)) as Record<string, string>;
  return Object.keys(captions).map((name) => `${ROOT}/infra/demo/${name}`);
}

function curlLine(model: string, picture: string): string {
  const path = picture.startsWith(`${ROOT}/`) ? picture.slice(ROOT.length + 1) : picture;
  const body = `{"model":"${model}","stream":true,"messages":[{"role":"user","content":[` +
    `{"type":"image_url","image_url":{"url":"data:;base64,'"$(base64 <${path} | tr -d '\\n')"'"}},` +
    `{"type":"text","text":"${PROMPT}"}]}]}`;
  return `  curl -N http://127.0.0.1:8000/v1/chat/completions -H 'content-type: application/json' \\\n    -d '${body}'`;
}

try {
  await main();
  Deno.exit(0);
} catch (error) {
  fail(error);
}

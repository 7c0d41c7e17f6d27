/** One running stack for a test file, and the bundled pictures as requests. */
import { type Stack, type StackOptions, startStack } from "@tessera/infra/stack";

const DEMO = new URL("../../infra/demo/", import.meta.url);

/** Runs `body` against a stack on free ports; the stack is stopped whatever happens. */
export async function withStack(options: StackOptions, body: (stack: Stack) => Promise<void>): Promise<void> {
  const stack = await startStack({ port: 0, ...options });
  try {
    await body(stack);
  } finally {
    await stack.stop();
  }
}

/** Bundled pictures with the caption each must get. */
export async function demoPictures(): Promise<{ name: string; path: string; url: string; caption: string }[]> {
  const captions = JSON.parse(await Deno.readTextFile(new URL("captions.json", DEMO))) as Record<string, string>;
  return await Promise.all(
    Object.entries(captions).map(async ([name, caption]) => {
      const file = new URL(name, DEMO);
      return { name, path: file.pathname, url: `data:;base64,${(await Deno.readFile(file)).toBase64()}`, caption };
    }),
  );
}

/** A user message: a picture, then text. */
export function about(url: string, text: string) {
  return {
    role: "user" as const,
    content: [{ type: "image_url" as const, image_url: { url } }, { type: "text" as const, text }],
  };
}

/** POSTs a chat completion and returns status, headers and parsed body. */
export async function post(base: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`${base}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, json: await response.json() };
}

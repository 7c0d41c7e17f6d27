/** The judge of our signatures: the PyPI package `standardwebhooks`, in a process of its own. */
import { ensurePythonClient } from "../../infra/tools/python.ts";

export interface ToVerify {
  readonly secret: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** `ok`, or what is wrong, for each. */
export async function verifyByPython(all: readonly ToVerify[]): Promise<string[]> {
  const script = new URL("./verify.py", import.meta.url).pathname;
  const child = new Deno.Command(await ensurePythonClient(), { args: [script], stdin: "piped", stdout: "piped" })
    .spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(all.map((one) => `${JSON.stringify(one)}\n`).join("")));
  await writer.close();
  const { stdout } = await child.output();
  return new TextDecoder().decode(stdout).trim().split("\n");
}

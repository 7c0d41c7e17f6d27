/** edge/main.ts as a process: says where it listens, names every fault of its environment, ends when asked to. */
import { startNatsServer } from "@tessera/infra/nats";
import assert from "node:assert/strict";

const MAIN = new URL("../../edge/main.ts", import.meta.url).pathname;

function start(env: Record<string, string>): Deno.ChildProcess {
  const args = ["run", "--allow-net", "--allow-env", "--allow-read", "--no-check", MAIN];
  return new Deno.Command(Deno.execPath(), { args, env, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
}

async function text(stream: ReadableStream<Uint8Array>): Promise<string> {
  return await new Response(stream).text();
}

/** Reads log lines until the one that says where it listens. */
async function listening(reader: ReadableStreamDefaultReader<string>): Promise<string> {
  let printed = "";
  for (;;) {
    const { value, done } = await reader.read();
    assert.ok(!done, printed);
    printed += value;
    for (const line of printed.split("\n").slice(0, -1)) {
      const { event, url } = JSON.parse(line);
      if (event === "listening") return url;
    }
  }
}

Deno.test("main: every fault of the environment at once, code 2", async () => {
  const child = start({ TESSERA_PORT: "x", TESSERA_NATS_URL: "http://a" });
  await child.stdin.close();
  const [stderr] = await Promise.all([text(child.stderr), text(child.stdout)]);
  assert.equal((await child.status).code, 2);
  assert.match(stderr, /TESSERA_PORT="x"/);
  assert.match(stderr, /TESSERA_NATS_URL="http:\/\/a"/);
});

Deno.test("main: a port that is taken and a variable that is none are named, without a stack", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const port = String((taken.addr as Deno.NetAddr).port);
  const child = start({ TESSERA_PORT: port, TESSERA_PROT: port, TESSERA_NATS_URL: "nats://127.0.0.1:1" });
  await child.stdin.close();
  const [stderr, stdout] = await Promise.all([text(child.stderr), text(child.stdout)]);
  assert.equal((await child.status).code, 2);
  assert.match(stderr, new RegExp(`^Cannot listen at TESSERA_HOST="127.0.0.1", TESSERA_PORT="${port}": .*in use.*\n$`));
  assert.match(stdout, /"unknown_variable","variable":"TESSERA_PROT","did_you_mean":"TESSERA_PORT"/);
});

for (const how of ["SIGINT", "SIGTERM", "the end of standard input"] as const) {
  Deno.test(`main: serves without file or process rights, ends on ${how} with code 0`, async () => {
    const nats = await startNatsServer();
    const isSupervised = how === "the end of standard input";
    const child = start({
      TESSERA_PORT: "0",
      TESSERA_NATS_URL: nats.url,
      TESSERA_TILE_WORKERS: "1",
      TESSERA_SUPERVISED: String(isSupervised),
    });
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const stderr = text(child.stderr);
    const url = await listening(lines);
    const end = performance.now() + 20_000;
    for (let reasons = ["x", "y"]; reasons.length !== 1;) {
      assert.ok(performance.now() < end, `still not ready: ${reasons}`);
      ({ reasons } = await (await fetch(`${url}/readyz`)).json() as { reasons: string[] });
    }
    if (isSupervised) await child.stdin.close();
    else child.kill(how);
    while (!(await lines.read()).done);
    assert.equal((await child.status).code, 0, await stderr);
    assert.equal(await stderr, "");
    if (!isSupervised) await child.stdin.close();
    await nats.stop();
  });
}

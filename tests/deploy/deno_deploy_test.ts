/** The edge with the permissions that Deno Deploy gives, over wss: to NATS; and what its modules must not reach for. */
import { ROOT } from "@tessera/infra/paths";
import { run, supervise } from "@tessera/infra/process";
import assert from "node:assert/strict";
import { makeCertificates } from "../support/certificates.ts";
import { Fleet, until } from "../support/fleet.ts";

Deno.test("deno deploy: net, environment and reading are enough for an answer with a picture, over wss", async () => {
  const folder = await Deno.makeTempDir();
  const { ca, cert, key } = await makeCertificates(["IP:127.0.0.1"]);
  await Deno.writeTextFile(`${folder}/cert.pem`, cert);
  await Deno.writeTextFile(`${folder}/key.pem`, key);
  const conf = `max_payload: 8MB
websocket { host: "127.0.0.1", port: -1, tls { cert_file: "${folder}/cert.pem", key_file: "${folder}/key.pem" } }`;
  await Deno.writeTextFile(`${folder}/nats.conf`, conf);
  try {
    await Fleet.run(async (fleet) => {
      await fleet.worker();
      const lines: string[] = [];
      const permissions = ["--allow-net", "--allow-env", `--allow-read=${ROOT}`, "--no-prompt"];
      const edge = supervise(Deno.execPath(), ["run", ...permissions, "--no-check", `${ROOT}/edge/main.ts`], {
        env: {
          TESSERA_NATS_URL: fleet.nats.webSocketUrl!.replace(/^\w+:/, "wss:"),
          TESSERA_NATS_CA: ca,
          TESSERA_PORT: "0",
          TESSERA_TILE_WORKERS: "1",
          TESSERA_LOG_FORMAT: "json",
          TESSERA_SUPERVISED: "true",
        },
        onLine: (line) => lines.push(line),
      });
      try {
        const listening = () => lines.find((line) => line.includes('"listening"'));
        await until(() => listening() !== undefined, "the edge to listen", 60_000);
        const { url } = JSON.parse(listening()!) as { url: string };
        await until(
          async () => {
            const response = await fetch(`${url}/readyz`);
            await response.body?.cancel();
            return response.ok;
          },
          "the edge to be ready",
          60_000,
        );
        const { data } = await (await fetch(`${url}/v1/models`)).json() as { data: { id: string }[] };
        const picture = (await Deno.readFile(`${ROOT}/infra/demo/square.png`)).toBase64();
        const content = [
          { type: "image_url", image_url: { url: `data:image/png;base64,${picture}` } },
          { type: "text", text: "What is this?" },
        ];
        const response = await fetch(`${url}/v1/chat/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ model: data[0]!.id, messages: [{ role: "user", content }] }),
        });
        const answer = await response.json() as { choices?: { message: { content: string } }[] };
        assert.equal(response.status, 200, JSON.stringify(answer));
        assert.notEqual(answer.choices?.[0]?.message.content ?? "", "");
      } catch (error) {
        throw new Error(`${error instanceof Error ? error.stack : error}\n${lines.slice(-10).join("\n")}`);
      } finally {
        await edge.stop(10_000);
      }
    }, { args: ["--config", `${folder}/nats.conf`] });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** What Deno Deploy has not: other processes, addons, files to write. */
const FORBIDDEN = /Deno\.(Command|dlopen|write\w+|mkdir|makeTemp\w+|remove|rename|create|copyFile)\b|createRequire\(/;

Deno.test("deno deploy: no module of the edge starts a process, opens an addon or writes a file", async () => {
  let numModules = 0;
  for (const root of ["edge/main.ts", "edge/tile/worker.ts"]) {
    const graph = JSON.parse(await run(Deno.execPath(), ["info", "--json", root], { cwd: ROOT })) as {
      modules: { specifier: string }[];
    };
    for (const { specifier } of graph.modules) {
      assert.doesNotMatch(specifier, /^node:(child_process|worker_threads|cluster)|\.node$|\/(native|gpu-worker)\//);
      if (!specifier.startsWith("file:") || specifier.includes("/node_modules/")) continue;
      assert.doesNotMatch(await Deno.readTextFile(new URL(specifier)), FORBIDDEN, specifier);
      numModules++;
    }
  }
  assert.ok(numModules > 80, `${numModules} modules`);
});

/** The files that deploy Tessera keep the rules, and the rules notice what breaks them. */
import assert from "node:assert/strict";
import { checkDeployFiles } from "../../infra/checks/deploy/rules.ts";
import { checkNatsConf, checkUnits, readDeployFiles } from "../../infra/checks/deploy_files.ts";

const hasSystemd = Deno.build.os === "linux" &&
  await Deno.stat("/usr/bin/systemd-analyze").then(() => true, () => false);

Deno.test("deploy files: variables exist, versions are pinned, YAML parses, grace is longer than the drain", async () => {
  const files = await readDeployFiles();
  assert.ok(files.length > 15, `${files.length} files`);
  assert.deepEqual(checkDeployFiles(files), []);
});

Deno.test("deploy files: each rule notices a file that breaks it", () => {
  const broken: readonly (readonly [path: string, text: string, fault: RegExp])[] = [
    ["infra/compose.yaml", "environment: { TESSERA_PROT: 1 }", /TESSERA_PROT is no variable/],
    ["infra/docker/x.Dockerfile", "FROM debian:stable-slim", /debian:stable-slim is not pinned/],
    ["infra/docker/x.Dockerfile", "ARG V=latest\nFROM denoland\/deno:${V}", /latest is not pinned/],
    ["infra/compose.yaml", "    image: nats:latest", /nats:latest is not pinned/],
    ["infra/compose.yaml", "    image: nats:2.9.1-alpine", /nats 2.9.1, expected/],
    ["infra/helm/tessera/Chart.yaml", "dependencies:\n  - name: nats\n    version: ^1.3.0\n", /\^1.3.0 is not pinned/],
    ["infra/compose.yaml", "a: [1", /Flow sequence/i],
    ["infra/systemd/x.service", "TESSERA_DRAIN_MS=30000\nTimeoutStopSec=20", /before 30 s of draining/],
    ["infra/helm/tessera/templates/keda.yaml", "range until 4 }}", /no "range until/],
  ];
  for (const [path, text, fault] of broken) assert.match(checkDeployFiles([{ path, text }]).join("\n"), fault, text);
});

Deno.test("deploy files: nats-server takes the fleet's configuration", checkNatsConf);

Deno.test({
  name: "deploy files: systemd takes the units",
  ignore: !hasSystemd,
  fn: checkUnits,
});

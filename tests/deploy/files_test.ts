/** The files that deploy Tessera keep the rules, and the rules notice what breaks them. */
import { ROOT } from "@tessera/infra/paths";
import assert from "node:assert/strict";
import { parse } from "yaml";
import { checkDeployFiles } from "../../infra/checks/deploy/rules.ts";
import { schemaOf, triggerFaults } from "../../infra/checks/deploy/scaling.ts";
import { Missing, promtool } from "../../infra/checks/deploy/tools.ts";
import {
  checkAlerts,
  checkDockerfiles,
  checkNatsConf,
  checkUnits,
  readDeployFiles,
} from "../../infra/checks/deploy_files.ts";

const hasSystemd = Deno.build.os === "linux" &&
  await Deno.stat("/usr/bin/systemd-analyze").then(() => true, () => false);
/** Why promtool is not to be had here, null where it is. */
const noPromtool = await promtool().then(() => null, (error: Error) => {
  if (error instanceof Missing) return error.message;
  throw error;
});

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

Deno.test("deploy files: a trigger that KEDA's scaler would not understand is noticed", () => {
  const object = (trigger: string) => `kind: ScaledObject\nspec:\n  triggers:\n    - ${trigger}\n`;
  const good = '{ type: prometheus, metricType: Value, metadata: { serverAddress: a, query: q, threshold: "2" } }';
  assert.deepEqual(triggerFaults(object(good)), []);
  const broken: readonly (readonly [from: string, to: string, fault: RegExp])[] = [
    ['threshold: "2"', "threshold: 2", /threshold is no string/],
    ["query: q, ", "", /needs query/],
    ["query: q", "query: q, metricName: x", /metricName is nothing it reads/],
    ["metricType: Value", "metricType: Utilization", /metricType Utilization/],
    ["prometheus", "promtheus", /no scaler "promtheus"/],
  ];
  for (const [from, to, fault] of broken) {
    assert.match(triggerFaults(object(good.replace(from, to))).join("\n"), fault, to);
  }
  assert.throws(() => triggerFaults("kind: Deployment"));
  const definition = "spec: { versions: [{ schema: { openAPIV3Schema: { properties: { a: { type: object } } } } }] }";
  assert.deepEqual(schemaOf(definition), { properties: { a: { type: "object" } }, additionalProperties: false });
});

Deno.test("deploy files: every alert has a test of when it fires", async () => {
  const read = (name: string) => Deno.readTextFile(`${ROOT}/infra/prometheus/${name}`);
  const names = [...(await read("alerts.yaml")).matchAll(/alert: (\w+)/g)].map(([, name]) => name!);
  const tests = parse(await read("alerts.test.yaml")) as {
    tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[];
  };
  const cases = tests.tests.flatMap(({ alert_rule_test }) => alert_rule_test);
  for (const name of names) {
    const own = cases.filter(({ alertname }) => alertname === name);
    assert.ok(own.some(({ exp_alerts }) => exp_alerts.length > 0), `${name} fires in no test`);
    assert.ok(own.some(({ exp_alerts }) => exp_alerts.length === 0), `${name} is quiet in no test`);
  }
});

Deno.test("deploy files: nats-server takes the fleet's configuration", checkNatsConf);

Deno.test({
  name: "deploy files: systemd takes the units",
  ignore: !hasSystemd,
  fn: checkUnits,
});

Deno.test("deploy files: hadolint takes the Dockerfiles", checkDockerfiles);

Deno.test({
  name: `deploy files: promtool takes the alerts, each fires when it should${
    noPromtool ? ` (not run: ${noPromtool})` : ""
  }`,
  ignore: noPromtool !== null,
  fn: checkAlerts,
});

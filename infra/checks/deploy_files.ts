/** `deno task check:deploy`: every file that deploys Tessera through its own tool, where that is to be had. */
import { ensureNatsServer } from "../nats/binary.ts";
import { ROOT } from "../tools/paths.ts";
import { run } from "../tools/process.ts";
import { checkDeployFiles, type DeployFile } from "./deploy/rules.ts";
import { KEDA, schemaOf, triggerFaults } from "./deploy/scaling.ts";
import { goModule, goTool, Missing, mustRun, ownGoTool, promtool, pythonTools } from "./deploy/tools.ts";

const HELM = "helm.sh/helm/v3/cmd/helm@v3.22.0";
const KUBECONFORM = "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0";
const KUBERNETES = "1.31";
const CHART = `${ROOT}/infra/helm/tessera`;
const PASSWORDS = ["EDGE_A", "EDGE_B", "WORKER", "DELIVERER", "OPERATOR"].map((user) => `${user}_PASSWORD`);

/** All files that the rules are about. */
export async function readDeployFiles(): Promise<DeployFile[]> {
  const paths: string[] = ["infra/compose.yaml", "infra/compose.env.example"];
  for (const folder of ["infra/docker", "infra/systemd", "infra/helm/tessera", "infra/helm/tessera/templates"]) {
    for await (const entry of Deno.readDir(`${ROOT}/${folder}`)) {
      if (entry.isFile && entry.name !== "Chart.lock") paths.push(`${folder}/${entry.name}`);
    }
  }
  return await Promise.all(
    paths.sort().map(async (path) => ({ path, text: await Deno.readTextFile(`${ROOT}/${path}`) })),
  );
}

/** The bus's configurations, by nats-server itself. @throws Error with what it says */
export async function checkNatsConf(): Promise<void> {
  const env = Object.fromEntries(PASSWORDS.map((name) => [name, "x"]));
  await run(await ensureNatsServer(), ["-t", "-c", `${ROOT}/infra/nats/fleet.conf`], { env });
}

/** The units, with commands that are there, since systemd looks for them. @throws Error with what systemd says */
export async function checkUnits(): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const files = (await readDeployFiles()).filter(({ path }) => path.startsWith("infra/systemd/"));
    const units = files.map(({ path }) => `${folder}/${path.split("/").at(-1)}`);
    for (const [i, { text }] of files.entries()) {
      await Deno.writeTextFile(units[i]!, text.replace(/^(Exec\w+=)\S+/gm, "$1/bin/true"));
    }
    const { success, stderr } = await new Deno.Command("systemd-analyze", { args: ["verify", "--man=no", ...units] })
      .output();
    const said = new TextDecoder().decode(stderr).split("\n").filter((line) => line.includes("tessera"));
    if (!success || said.length > 0) throw new Error(said.join("\n") || "systemd-analyze verify fails");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The Dockerfiles, by hadolint. @throws Error with what it says */
export async function checkDockerfiles(): Promise<void> {
  const files = (await readDeployFiles()).filter(({ path }) => path.endsWith(".Dockerfile"));
  await run(`${(await pythonTools()).bin}/hadolint`, files.map(({ path }) => `${ROOT}/${path}`));
}

/** By the library that docker compose reads files with. @throws Error with what it says */
async function checkCompose(): Promise<void> {
  const loader = await ownGoTool("compose-check", "infra/checks/deploy/compose");
  await run(loader, [`${ROOT}/infra/compose.env.example`, `${ROOT}/infra/compose.yaml`]);
}

/** The alert rules and their tests, by promtool. @throws Error with what it says; Missing where it is not to be had */
export async function checkAlerts(): Promise<void> {
  const tool = await promtool();
  await run(tool, ["check", "rules", `${ROOT}/infra/prometheus/alerts.yaml`]);
  await run(tool, ["test", "rules", `${ROOT}/infra/prometheus/alerts.test.yaml`]);
}

/** Lints the chart and fills it in, without the NATS chart, whose repository may be out of reach. @returns all its objects */
async function fillInChart(): Promise<string> {
  const helm = await goTool("helm", HELM);
  const folder = await Deno.makeTempDir();
  try {
    await run("cp", ["-r", CHART, folder]);
    const chart = `${folder}/tessera`;
    const page = await Deno.readTextFile(`${chart}/Chart.yaml`);
    await Deno.writeTextFile(`${chart}/Chart.yaml`, page.slice(0, page.indexOf("dependencies:")));
    const values = [...PASSWORDS, "TESSERA_WEBHOOK_SECRETS"].map((name) => `secret.values.${name}=x`).join(",");
    const set = ["--set", `${values},keda.prometheus=http://prometheus:9090`];
    await run(helm, ["lint", "--strict", chart, ...set]);
    return await run(helm, ["template", "tessera", chart, "--kube-version", `${KUBERNETES}.0`, ...set]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The chart's objects against the schemas of Kubernetes. */
async function checkObjects(): Promise<void> {
  const { bin } = await pythonTools();
  const own = (await fillInChart()).split(/^---$/m).filter((object) => !object.includes("keda.sh/"));
  await withFile(own.join("---"), (path) => run(`${bin}/kubernetes-validate`, ["--strict", "-k", KUBERNETES, path]));
}

/** Its scaling against KEDA's own definition of such an object, and its triggers against what KEDA's scalers read. */
async function checkScaling(): Promise<void> {
  const kubeconform = await goTool("kubeconform", KUBECONFORM);
  const crd = `${await goModule(KEDA)}/config/crd/bases/keda.sh_scaledobjects.yaml`;
  const schema = JSON.stringify(schemaOf(await Deno.readTextFile(crd)));
  const scaled = (await fillInChart()).split(/^---$/m).filter((object) => object.includes("keda.sh/")).join("---");
  const validate = (schemaPath: string) =>
    withFile(scaled, (path) => run(kubeconform, ["-strict", "-schema-location", schemaPath, path]));
  await withFile(schema, validate, ".json");
  const faults = triggerFaults(scaled);
  if (faults.length > 0) throw new Error(faults.join("\n"));
}

async function withFile(text: string, use: (path: string) => Promise<unknown>, suffix = ".yaml"): Promise<void> {
  const path = await Deno.makeTempFile({ suffix });
  try {
    await Deno.writeTextFile(path, text);
    await use(path);
  } finally {
    await Deno.remove(path);
  }
}

const CHECKS: Readonly<Record<string, () => Promise<void>>> = {
  "rules of our own": async () => {
    const faults = checkDeployFiles(await readDeployFiles());
    if (faults.length > 0) throw new Error(faults.join("\n"));
  },
  "nats-server -t": checkNatsConf,
  "systemd-analyze verify": async () => {
    await mustRun("systemd-analyze", "--version");
    await checkUnits();
  },
  "hadolint": checkDockerfiles,
  "compose file": checkCompose,
  "promtool check, test rules": checkAlerts,
  "helm lint, template": async () => void await fillInChart(),
  "kubernetes-validate": checkObjects,
  "kubeconform of KEDA's objects": checkScaling,
};

if (import.meta.main) {
  let failed = false;
  for (const [name, check] of Object.entries(CHECKS)) {
    try {
      await check();
      console.log(`ok       ${name}`);
    } catch (error) {
      const isMissing = error instanceof Missing;
      failed ||= !isMissing;
      console.log(`${isMissing ? "not run" : "FAILED "}  ${name}: ${error instanceof Error ? error.message : error}`);
    }
  }
  Deno.exit(failed ? 1 : 0);
}

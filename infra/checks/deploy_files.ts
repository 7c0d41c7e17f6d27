/** `deno task check:deploy`: every file that deploys Tessera through its own tool, where that is to be had. */
import { dataDir, ROOT } from "../tools/paths.ts";
import { findOnPath, run } from "../tools/process.ts";
import { ensurePython } from "../tools/python.ts";
import { ensureNatsServer } from "../nats/binary.ts";
import { checkDeployFiles, type DeployFile } from "./deploy/rules.ts";

const HELM = { name: "helm", module: "helm.sh/helm/v3/cmd/helm@v3.22.0" };
const KUBECONFORM = { name: "kubeconform", module: "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0" };
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

async function checkDockerfiles(): Promise<void> {
  const python = await ensurePython({ name: "python-hadolint", requirements: "infra/checks/deploy/requirements.txt" });
  const files = (await readDeployFiles()).filter(({ path }) => path.endsWith(".Dockerfile"));
  await run(`${python.slice(0, -"python".length)}hadolint`, files.map(({ path }) => `${ROOT}/${path}`));
}

async function checkCompose(): Promise<void> {
  const options = ["compose", "--env-file", `${ROOT}/infra/compose.env.example`, "-f", `${ROOT}/infra/compose.yaml`];
  await run("docker", [...options, "config", "--quiet"]);
}

/** Lints the chart and fills it in, without the NATS chart, whose repository may be out of reach. @returns all its objects */
async function fillInChart(): Promise<string> {
  const helm = await ensureGoTool(HELM);
  const folder = await Deno.makeTempDir();
  try {
    await run("cp", ["-r", CHART, folder]);
    const chart = `${folder}/tessera`;
    const page = await Deno.readTextFile(`${chart}/Chart.yaml`);
    await Deno.writeTextFile(`${chart}/Chart.yaml`, page.slice(0, page.indexOf("dependencies:")));
    const values = [...PASSWORDS, "TESSERA_WEBHOOK_SECRETS"].map((name) => `secret.values.${name}=x`).join(",");
    const set = ["--set", `${values},keda.prometheus=http://prometheus:9090`];
    await run(helm, ["lint", "--strict", chart, ...set]);
    return await run(helm, ["template", "tessera", chart, "--kube-version", "1.31.0", ...set]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The chart's objects against the schemas of Kubernetes, which kubeconform fetches; KEDA's are not among them. */
async function checkObjects(): Promise<void> {
  const kubeconform = await ensureGoTool(KUBECONFORM);
  const path = await Deno.makeTempFile({ suffix: ".yaml" });
  try {
    await Deno.writeTextFile(path, await fillInChart());
    await run(kubeconform, ["-strict", "-ignore-missing-schemas", "-summary", path]).catch((error: Error) => {
      if (error.message.includes("failed downloading schema")) throw new Missing("the schemas are out of reach");
      throw error;
    });
  } finally {
    await Deno.remove(path);
  }
}

/** On PATH, else built once by Go. */
async function ensureGoTool({ name, module }: { name: string; module: string }): Promise<string> {
  const onPath = await findOnPath(name);
  if (onPath !== null) return onPath;
  const path = `${dataDir()}/bin/${name}`;
  if (await Deno.stat(path).then(() => true, () => false)) return path;
  const go = await findOnPath("go");
  if (go === null) throw new Missing(`${name}: neither on PATH nor is there Go to build it`);
  await run(go, ["install", module], { env: { GOBIN: `${dataDir()}/bin` } });
  return path;
}

/** A tool that is not to be had here. */
class Missing extends Error {}

async function has(command: string, ...args: string[]): Promise<void> {
  const works = await new Deno.Command(command, { args, stdout: "null", stderr: "null" }).output()
    .then(({ success }) => success, () => false);
  if (!works) throw new Missing(`${[command, ...args].join(" ")} does not run here`);
}

const CHECKS: Readonly<Record<string, () => Promise<void>>> = {
  "rules of our own": async () => {
    const faults = checkDeployFiles(await readDeployFiles());
    if (faults.length > 0) throw new Error(faults.join("\n"));
  },
  "nats-server -t": checkNatsConf,
  "systemd-analyze verify": async () => {
    await has("systemd-analyze", "--version");
    await checkUnits();
  },
  "hadolint": checkDockerfiles,
  "docker compose config": async () => {
    await has("docker", "compose", "version");
    await checkCompose();
  },
  "helm lint, template": async () => void await fillInChart(),
  "kubeconform": checkObjects,
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

/** Where the tools that check deployment come from: PATH, or the registries of Go, Python and Debian. Each is kept. */
import { dataDir, ROOT } from "../../tools/paths.ts";
import { findOnPath, run } from "../../tools/process.ts";
import { ensurePython } from "../../tools/python.ts";

/** Longest silence of a Debian mirror. */
const APT_TIMEOUT_S = 15;

/** A tool that is not to be had here. */
export class Missing extends Error {}

/** On PATH, else built once by Go. @returns its path */
export async function goTool(name: string, module: string): Promise<string> {
  const onPath = await findOnPath(name);
  if (onPath !== null) return onPath;
  const path = `${dataDir()}/bin/${name}`;
  if (await exists(path)) return path;
  await run(await go(), ["install", module], { env: { GOBIN: `${dataDir()}/bin` } });
  return path;
}

/** A program of ours in Go, built anew where its sources changed. @param folder from the repository's root */
export async function ownGoTool(name: string, folder: string): Promise<string> {
  const path = `${dataDir()}/bin/${name}`;
  await run(await go(), ["build", "-o", path, "."], { cwd: `${ROOT}/${folder}` });
  return path;
}

/** The files of a Go module. @param module with its version */
export async function goModule(module: string): Promise<string> {
  // In a folder without a module of its own.
  const printed = await run(await go(), ["mod", "download", "-json", module], { cwd: dataDir() });
  return (JSON.parse(printed) as { Dir: string }).Dir;
}

async function go(): Promise<string> {
  const go = await findOnPath("go");
  if (go === null) throw new Missing("there is no Go to build it");
  return go;
}

/** Packages of these checks. @returns the folder of their programs, and Python's own path */
export async function pythonTools(): Promise<{ readonly bin: string; readonly python: string }> {
  const python = await ensurePython({ name: "python-deploy", requirements: "infra/checks/deploy/requirements.txt" });
  return { bin: python.slice(0, python.lastIndexOf("/")), python };
}

/** promtool, on PATH or out of Debian's package of Prometheus, which is not installed. */
export async function promtool(): Promise<string> {
  const onPath = await findOnPath("promtool");
  if (onPath !== null) return onPath;
  const path = `${dataDir()}/bin/promtool`;
  if (await exists(path)) return path;
  if (await findOnPath("apt-get", "dpkg-deb") === null) {
    throw new Missing("promtool is not on PATH, nor is this Debian");
  }
  const folder = await Deno.makeTempDir();
  try {
    const bounds = ["http", "https"].flatMap((method) => ["-o", `Acquire::${method}::Timeout=${APT_TIMEOUT_S}`]);
    await run("apt-get", ["download", "-o", "Acquire::Retries=0", ...bounds, "prometheus"], { cwd: folder }).catch(
      (error: Error) => {
        throw new Missing(`promtool: ${error.message.split("\n").at(-1)}`);
      },
    );
    const [archive] = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
    await run("dpkg-deb", ["-x", `${folder}/${archive}`, folder]);
    await Deno.mkdir(`${dataDir()}/bin`, { recursive: true });
    await Deno.copyFile(`${folder}/usr/bin/promtool`, path);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  return path;
}

/** @throws Missing when the command does not run */
export async function mustRun(command: string, ...args: string[]): Promise<void> {
  const works = await new Deno.Command(command, { args, stdout: "null", stderr: "null" }).output()
    .then(({ success }) => success, () => false);
  if (!works) throw new Missing(`${[command, ...args].join(" ")} does not run here`);
}

function exists(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, () => false);
}

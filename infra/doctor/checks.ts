/** What a machine needs to run Tessera, each check with what was found and how to get what is missing. */
import { EnvError, readEnv, type VariableName, VARIABLES, versionsText, WIRE_VERSIONS } from "@tessera/shared";
import { findCheckpoint } from "../../gpu-worker/config.ts";
import { bytesText } from "../hub/progress.ts";
import { NATS_SERVER_VERSION } from "../nats/binary.ts";
import { numWeightBytes } from "../plan/memory.ts";
import { readShape } from "../plan/read_shape.ts";
import { dataDir, ROOT } from "../tools/paths.ts";
import type { Machine } from "./machine.ts";

export interface Finding {
  readonly name: string;
  /** `missing` keeps Tessera from running, `note` makes it slower or is needed by some commands only. */
  readonly status: "ok" | "note" | "missing";
  readonly found: string;
  /** How to get what is missing. */
  readonly remedy?: string;
}

/** Oldest releases that are known to do. */
const OLDEST_NODE = 18;
const OLDEST_PYTHON = 9;
/** Set-up, build and logs. */
const NEEDED_DISK = 3e9;
/** Deno, edge and worker beside the weights. */
const NEEDED_MEMORY = 1.5e9;

type Check = (machine: Machine) => Promise<Finding>;

/** In the order people would mend them. */
export const CHECKS: readonly Check[] = [
  node,
  python,
  compiler,
  git,
  environment,
  processor,
  natsServer,
  wire,
  model,
  memory,
  disk,
  port,
  gpu,
];

export async function examine(machine: Machine): Promise<Finding[]> {
  return await Promise.all(CHECKS.map((check) => check(machine)));
}

async function node(machine: Machine): Promise<Finding> {
  const version = (await machine.output("node", "--version"))?.trim();
  const remedy = packages(machine, "nodejs npm", "node");
  if (version === undefined) {
    return { name: "node", status: "note", found: "not on PATH; npx starts Deno by it", remedy };
  }
  const isOld = Number(version.match(/^v(\d+)/)?.[1]) < OLDEST_NODE;
  const found = `${version}, Deno ${Deno.version.deno}`;
  return isOld
    ? { name: "node", status: "note", found: `${found}; expected ${OLDEST_NODE} or newer`, remedy }
    : { name: "node", status: "ok", found };
}

async function python(machine: Machine): Promise<Finding> {
  const name = "python3";
  const version = (await machine.output("python3", "--version"))?.match(/(\d+)\.(\d+)[.\d]*/);
  const remedy = packages(machine, "python3 python3-venv", "python3");
  if (!version) return { name, status: "missing", found: "not on PATH; it fetches nats-server and runs tests", remedy };
  if (Number(version[1]) < 3 || Number(version[2]) < OLDEST_PYTHON) {
    return { name, status: "missing", found: `${version[0]}, expected 3.${OLDEST_PYTHON} or newer`, remedy };
  }
  const hasVenv = await machine.output("python3", "-c", "import venv, ensurepip") !== null;
  return hasVenv
    ? { name, status: "ok", found: version[0] }
    : { name, status: "missing", found: `${version[0]} without venv`, remedy };
}

async function compiler(machine: Machine): Promise<Finding> {
  const name = "C++ compiler";
  const remedy = packages(machine, "g++", "gcc");
  const chosen = machine.env("CXX");
  for (const command of chosen ? [chosen] : ["g++", "clang++", "c++"]) {
    const version = await machine.output(command, "--version");
    if (version === null) continue;
    const major = Number(version.match(/(\d+)\.\d+/)?.[1]);
    const isClang = version.includes("clang");
    const found = `${command} ${version.match(/\d+\.\d+[.\d]*/)?.[0] ?? ""}`.trim();
    if (major < (isClang ? 14 : 12)) {
      return { name, status: "missing", found: `${found}; C++20 needs g++ 12 or clang 14`, remedy };
    }
    return { name, status: "ok", found };
  }
  return {
    name,
    status: "missing",
    found: chosen ? `CXX=${chosen} does not run` : "none on PATH; it builds the engine",
    remedy,
  };
}

async function git(machine: Machine): Promise<Finding> {
  const version = (await machine.output("git", "--version"))?.match(/\d+\.\d+[.\d]*/)?.[0];
  if (version !== undefined) return { name: "git", status: "ok", found: version };
  return {
    name: "git",
    status: "note",
    found: "not on PATH; checks of the sources use it",
    remedy: packages(machine, "git", "git"),
  };
}

function environment(machine: Machine): Promise<Finding> {
  const name = "environment";
  try {
    readEnv(Object.keys(VARIABLES) as VariableName[], (variable) => machine.env(variable));
    const set = Object.keys(VARIABLES).filter((variable) => machine.env(variable));
    return Promise.resolve({ name, status: "ok", found: set.length === 0 ? "defaults" : `${set.join(", ")} set` });
  } catch (error) {
    if (!(error instanceof EnvError)) throw error;
    const found = error.message.split("\n").slice(1).map((line) => line.trim()).join(" ");
    return Promise.resolve({ name, status: "missing", found, remedy: "deno task tessera env prints every variable" });
  }
}

async function processor(machine: Machine): Promise<Finding> {
  const name = "processor";
  const flags = (await machine.read("/proc/cpuinfo"))?.match(/^flags\s*:\s*(.*)$/m)?.[1]?.split(" ");
  const cpus = `${machine.numCpus} ${machine.numCpus === 1 ? "core" : "cores"}`;
  if (machine.arch !== "x86_64" || flags === undefined) {
    return { name, status: "note", found: `${machine.arch}, ${cpus}: the engine's portable kernels, which are slow` };
  }
  const sets = [
    ["avx512_bf16", ["avx512_bf16", "avx512_vnni", "avx512bw"]],
    ["avx512", ["avx512f", "avx512bw", "avx512vl"]],
    ["avx2", ["avx2", "fma"]],
  ] as const;
  const best = sets.find(([, needed]) => needed.every((flag) => flags.includes(flag)))?.[0];
  if (best !== undefined) return { name, status: "ok", found: `${cpus}, ${best}` };
  return { name, status: "note", found: `${cpus} without AVX2: the engine's portable kernels, which are slow` };
}

async function natsServer(machine: Machine): Promise<Finding> {
  const name = "nats-server";
  const url = machine.env("TESSERA_NATS_URL");
  if (url) return { name, status: "ok", found: `TESSERA_NATS_URL=${withoutSecrets(url)}` };
  for (const command of ["nats-server", `${dataDir()}/bin/nats-server-${NATS_SERVER_VERSION}`]) {
    const version = (await machine.output(command, "--version"))?.match(/v(\d+)\.(\d+)[.\d]*/);
    if (version && (Number(version[1]) > 2 || Number(version[2]) >= 10)) {
      return { name, status: "ok", found: version[0] };
    }
  }
  return { name, status: "note", found: "not here yet", remedy: "deno task setup fetches it" };
}

/** What this build speaks, to hold against `tessera top` of a fleet before it joins. */
function wire(): Promise<Finding> {
  return Promise.resolve({ name: "wire", status: "ok", found: `versions ${versionsText(WIRE_VERSIONS)}` });
}

async function model(machine: Machine): Promise<Finding> {
  const wanted = machine.env("TESSERA_MODEL") || VARIABLES.TESSERA_MODEL.fallback;
  try {
    const folder = await findCheckpoint(wanted);
    const { name } = await readShape(folder);
    return { name: "model", status: "ok", found: `${name} in ${folder}` };
  } catch (error) {
    const [found, remedy] = (error as Error).message.split(". Fetch it: ");
    return { name: "model", status: "missing", found: found!, ...(remedy === undefined ? {} : { remedy }) };
  }
}

async function memory(machine: Machine): Promise<Finding> {
  const name = "memory";
  const available = await availableMemory(machine);
  if (available === null) return { name, status: "note", found: "unknown on this system" };
  const wanted = machine.env("TESSERA_MODEL") || VARIABLES.TESSERA_MODEL.fallback;
  const shape = await findCheckpoint(wanted).then(readShape).catch(() => null);
  const dtype = machine.env("TESSERA_DTYPE") ?? "auto";
  const type = dtype === "int8" || dtype === "fp8" ? "int8" : dtype === "nf4" || dtype === "fp4" ? "4bit" : "bf16";
  const weights = shape === null ? 0 : numWeightBytes(shape, type) * (dtype === "fp32" ? 2 : 1);
  const needed = weights + NEEDED_MEMORY;
  const found = `${bytesText(available)} available, about ${bytesText(needed)} needed`;
  if (available >= needed || machine.env("TESSERA_DEVICE") === "cuda") return { name, status: "ok", found };
  const remedy = "close programs, take a smaller model, or TESSERA_DTYPE=int8 or nf4";
  return { name, status: shape === null ? "note" : "missing", found, remedy };
}

/** What may be used, the container's limit included. */
async function availableMemory(machine: Machine): Promise<number | null> {
  const kib = (await machine.read("/proc/meminfo"))?.match(/^MemAvailable:\s+(\d+) kB/m)?.[1];
  if (kib === undefined) return null;
  const limit = Number(await machine.read("/sys/fs/cgroup/memory.max") ?? NaN);
  const used = Number(await machine.read("/sys/fs/cgroup/memory.current") ?? 0);
  const free = Number(kib) * 1024;
  return Number.isFinite(limit) ? Math.min(free, Math.max(0, limit - used)) : free;
}

async function disk(machine: Machine): Promise<Finding> {
  const free = await machine.freeBytes(dataDir());
  const pretrained = await machine.freeBytes(`${ROOT}/pretrained`);
  const found = `${bytesText(free)} free${pretrained === free ? "" : `, ${bytesText(pretrained)} for checkpoints`}`;
  if (free >= NEEDED_DISK) return { name: "disk", status: "ok", found };
  return {
    name: "disk",
    status: "missing",
    found,
    remedy: `make room for ${bytesText(NEEDED_DISK)}, or set TESSERA_DATA_DIR`,
  };
}

async function port(machine: Machine): Promise<Finding> {
  const host = machine.env("TESSERA_HOST") || VARIABLES.TESSERA_HOST.fallback;
  const number = Number(machine.env("TESSERA_PORT") || VARIABLES.TESSERA_PORT.fallback);
  if (number === 0 || await machine.isPortFree(host, number)) {
    return { name: "port", status: "ok", found: number === 0 ? "any free one" : `${host}:${number} is free` };
  }
  const remedy = "stop what listens there (perhaps Tessera itself), or set TESSERA_PORT";
  return { name: "port", status: "note", found: `${host}:${number} is taken`, remedy };
}

async function gpu(machine: Machine): Promise<Finding> {
  const name = "GPU";
  const isWanted = machine.env("TESSERA_DEVICE") === "cuda";
  const query = "--query-gpu=name,memory.total,driver_version";
  const listed = await machine.output("nvidia-smi", query, "--format=csv,noheader");
  if (listed !== null && listed.trim() !== "") {
    return { name, status: "ok", found: listed.trim().replaceAll("\n", "; ") };
  }
  const hasCard = await machine.exists("/proc/driver/nvidia") || await machine.exists("/dev/nvidia0");
  const status = isWanted ? "missing" : "note";
  if (!hasCard && listed === null) {
    const remedy = isWanted ? "unset TESSERA_DEVICE, or run on a machine with an NVIDIA GPU and its driver" : undefined;
    return { name, status, found: "none: the model runs on the CPU", ...(remedy === undefined ? {} : { remedy }) };
  }
  return {
    name,
    status,
    found: "a card, but nvidia-smi does not answer",
    remedy: "install NVIDIA's driver, 580 or newer",
  };
}

/** The line that installs packages on this system. */
function packages({ os }: Machine, debian: string, brew: string): string {
  return os === "darwin" ? `brew install ${brew}` : `Debian, Ubuntu: apt install ${debian}`;
}

function withoutSecrets(urls: string): string {
  return urls.replaceAll(/\/\/[^@/,]*@/g, "//***@");
}

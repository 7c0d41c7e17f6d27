/** `tessera doctor`: each thing that can be missing, on made-up machines; and this machine, through the command. */
import assert from "node:assert/strict";
import { examine, type Finding } from "../../infra/doctor/checks.ts";
import { type Machine, thisMachine } from "../../infra/doctor/machine.ts";
import { ROOT } from "../../infra/tools/paths.ts";

const PROGRAMS: Record<string, string> = {
  node: "v22.1.0\n",
  python3: "Python 3.11.2",
  "g++": "g++ (Debian 12.2.0-14) 12.2.0",
  git: "git version 2.39.5",
  "nats-server": "nats-server: v2.15.1",
  "nvidia-smi": "NVIDIA H100 80GB HBM3, 81559 MiB, 580.65.06\n",
};
const FILES: Record<string, string> = {
  "/proc/cpuinfo": "flags\t\t: fpu sse2 avx2 fma avx512f avx512bw avx512vl avx512_vnni avx512_bf16\n",
  "/proc/meminfo": "MemTotal: 1 kB\nMemAvailable:   16000000 kB\n",
};

interface Changes extends Partial<Machine> {
  readonly programs?: Record<string, string | null>;
  readonly files?: Record<string, string | null>;
  readonly environment?: Record<string, string>;
}

/** A machine that has everything, but for the changes. */
async function findings(changes: Changes): Promise<Map<string, Finding>> {
  const programs: Record<string, string | null> = { ...PROGRAMS, ...changes.programs };
  const files: Record<string, string | null> = { ...FILES, ...changes.files };
  const machine: Machine = {
    os: "linux",
    arch: "x86_64",
    numCpus: 8,
    env: (name) => changes.environment?.[name],
    output: (command) => Promise.resolve(programs[command.slice(command.lastIndexOf("/") + 1)] ?? null),
    read: (path) => Promise.resolve(files[path] ?? null),
    exists: () => Promise.resolve(false),
    freeBytes: () => Promise.resolve(50e9),
    isPortFree: () => Promise.resolve(true),
    ...changes,
  };
  return new Map((await examine(machine)).map((finding) => [finding.name, finding]));
}

async function finds(changes: Changes, name: string, status: Finding["status"], found: RegExp): Promise<Finding> {
  const finding = (await findings(changes)).get(name)!;
  assert.equal(finding.status, status, `${name}: ${finding.found}`);
  assert.match(finding.found, found);
  return finding;
}

Deno.test("doctor: a machine that has everything", async () => {
  const all = [...(await findings({})).values()];
  assert.deepEqual(all.filter(({ status }) => status !== "ok"), []);
  assert.ok(all.length >= 12);
});

Deno.test("doctor: programs that are missing or too old, and how to get them", async () => {
  const none = { programs: { "g++": null, python3: null, git: null, node: null, "nats-server": null } };
  assert.match((await finds(none, "C++ compiler", "missing", /none on PATH/)).remedy!, /apt install g\+\+/);
  assert.match((await finds(none, "python3", "missing", /not on PATH/)).remedy!, /python3-venv/);
  await finds(none, "git", "note", /not on PATH/);
  await finds(none, "node", "note", /not on PATH/);
  assert.match((await finds({ os: "darwin", ...none }, "git", "note", /not/)).remedy!, /brew install git/);
  await finds({ programs: { "g++": "g++ 9.4.0" } }, "C++ compiler", "missing", /needs g\+\+ 12/);
  await finds({ programs: { python3: "Python 3.6.9" } }, "python3", "missing", /expected 3\.9/);
  await finds({ environment: { CXX: "icc" } }, "C++ compiler", "missing", /CXX=icc does not run/);
});

Deno.test("doctor: processor, memory, disk, port", async () => {
  await finds({}, "processor", "ok", /8 cores, avx512_bf16/);
  await finds({ files: { "/proc/cpuinfo": "flags : avx2 fma" } }, "processor", "ok", /avx2/);
  await finds({ files: { "/proc/cpuinfo": "flags : sse2" } }, "processor", "note", /portable kernels/);
  const small = {
    files: { "/sys/fs/cgroup/memory.max": "2000000000\n", "/sys/fs/cgroup/memory.current": "1500000000\n" },
  };
  assert.match((await finds(small, "memory", "missing", /500 MB available/)).remedy!, /int8/);
  await finds({ files: { "/sys/fs/cgroup/memory.max": "max\n" } }, "memory", "ok", /16\.4 GB available/);
  await finds({ freeBytes: () => Promise.resolve(1e9) }, "disk", "missing", /1\.00 GB free/);
  const taken = { isPortFree: () => Promise.resolve(false), environment: { TESSERA_PORT: "9000" } };
  assert.match((await finds(taken, "port", "note", /127\.0\.0\.1:9000 is taken/)).remedy!, /TESSERA_PORT/);
});

Deno.test("doctor: variables, model, bus, GPU", async () => {
  await finds({ environment: { TESSERA_DTYPE: "int7" } }, "environment", "missing", /TESSERA_DTYPE="int7"/);
  const model = await finds({ environment: { TESSERA_MODEL: "InternVL3-8B" } }, "model", "missing", /no config\.json/);
  assert.match(model.remedy!, /tessera pull OpenGVLab\/InternVL3-8B/);
  const bus = { environment: { TESSERA_NATS_URL: "nats://user:secret@host:4222" } };
  await finds(bus, "nats-server", "ok", /^TESSERA_NATS_URL=nats:\/\/\*\*\*@host:4222$/);
  await finds({ programs: { "nats-server": "nats-server: v2.9.10" } }, "nats-server", "note", /not here yet/);
  await finds({}, "GPU", "ok", /H100/);
  await finds({ programs: { "nvidia-smi": null } }, "GPU", "note", /runs on the CPU/);
  await finds({ programs: { "nvidia-smi": null }, environment: { TESSERA_DEVICE: "cuda" } }, "GPU", "missing", /none/);
  const card = { programs: { "nvidia-smi": null }, exists: () => Promise.resolve(true) };
  assert.match((await finds(card, "GPU", "note", /does not answer/)).remedy!, /driver/);
});

Deno.test("doctor: a port that listens, a command that is not there, a folder that is not yet", async () => {
  const machine = thisMachine();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  assert.equal(await machine.isPortFree("127.0.0.1", port), false);
  listener.close();
  assert.equal(await machine.isPortFree("127.0.0.1", port), true);
  assert.equal(await machine.output("no-such-program-here"), null);
  assert.ok(await machine.freeBytes(`${ROOT}/no/such/folder`) > 0);
});

Deno.test("tessera doctor: what is missing ends with code 1 and is named", async () => {
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--no-check", `${ROOT}/infra/cli/main.ts`, "doctor"],
    env: { TESSERA_MODEL: "no-such-model", NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert.equal(code, 1, text);
  assert.match(text, /✗ model +Cannot find checkpoint no-such-model/);
  assert.match(text, /Missing: .*model/);
});

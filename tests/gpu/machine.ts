/**
 * Owns what runs kernels for a command: this machine's GPU, or with `--emulated` an emulated one, on which all goes the same
 * way and times mean nothing.
 */
import {
  type Arch,
  buildAddon,
  buildDevicePrograms,
  buildEmulatedAddon,
  buildEmulatedBench,
  buildKernelTests,
  type Toolkit,
} from "@tessera/native";
import { findCublasLt } from "./cublaslt.ts";
import { ensureCudaHeaders } from "../../infra/tools/cuda.ts";
import { requireToolkit } from "../../infra/tools/cuda_toolkit.ts";
import { ROOT } from "../../infra/tools/paths.ts";
import { archOf, findGpu, type GpuCard, NO_GPU } from "./card.ts";

/** Paths of what was built. */
export interface Built {
  readonly tests: string;
  readonly bench: string;
  readonly addon: string;
}

/** Something that runs kernels. */
export interface GpuMachine {
  readonly card: GpuCard;
  /** What compiled the kernels, as `nvcc 13.0.88`. */
  readonly compiler: string;
  readonly isEmulated: boolean;
  readonly built: Built;
  /** For everything that runs on it. */
  readonly env: Readonly<Record<string, string>>;
  /** Folder of the compiler, where its tools may lie too. */
  readonly tools: string | undefined;
  /** Where records go. */
  readonly results: string;
}

/** What both commands are told. */
export interface MachineOptions {
  readonly isEmulated: boolean;
  /** Where records go, in place of the usual folder. */
  readonly results?: string | undefined;
  readonly progress: (line: string) => void;
}

/** The architecture that is built where there is no card to ask: that of H100. */
const USUAL_ARCH: Arch = "90a";

/** Builds everything for what runs kernels here; a sentence where nothing does. @throws Error where it cannot be built */
export async function openMachine(options: MachineOptions): Promise<GpuMachine | { readonly missing: string }> {
  if (options.isEmulated) return await openEmulated(options);
  const card = await findGpu();
  if ("missing" in card) return card;
  const toolkit = await requireToolkit();
  const built = await buildFor(archOf(card), toolkit, options.progress);
  return {
    card,
    compiler: `nvcc ${toolkit.version}`,
    isEmulated: false,
    built,
    // The order in which nvidia-smi has told of them.
    env: { CUDA_DEVICE_ORDER: "PCI_BUS_ID", ...await findCublasLt(toolkit, options.progress) },
    tools: toolkit.nvcc.slice(0, toolkit.nvcc.lastIndexOf("/")),
    results: options.results ?? `${ROOT}/native/bench/results`,
  };
}

/** Builds all that a GPU would run, for the card that is there or else the usual one; says for which. */
export async function buildAnyway(progress: (line: string) => void): Promise<{ arch: Arch; built: Built }> {
  const card = await findGpu();
  const arch = "missing" in card ? USUAL_ARCH : archOf(card);
  return { arch, built: await buildFor(arch, await requireToolkit(), progress) };
}

async function buildFor(arch: Arch, toolkit: Toolkit, progress: (line: string) => void): Promise<Built> {
  const archs = [arch];
  const programs = await buildDevicePrograms({ toolkit, archs, progress });
  // Beside the worker's own addon, which is for all cards.
  const addon = await buildAddon({ name: `tessera-${arch}.node`, cuda: { toolkit, archs }, progress });
  return { ...programs, addon };
}

async function openEmulated({ results, progress }: MachineOptions): Promise<GpuMachine> {
  const headers = await ensureCudaHeaders();
  const built = {
    tests: await buildKernelTests("fast", { headers, progress }),
    bench: await buildEmulatedBench({ headers, progress }),
    addon: await buildEmulatedAddon({ headers, progress }),
  };
  const count = Number(Deno.env.get("CUEMU_DEVICES") ?? 1);
  return {
    card: { name: "emulated GPU", driver: "none", capability: "9.0", memoryMiB: 4_096, count },
    compiler: "the machine's C++ compiler",
    isEmulated: true,
    built,
    env: { CUEMU_DEVICES: `${count}` },
    tools: undefined,
    results: results ?? `${ROOT}/native/build/emulated/results`,
  };
}

/** Ends the program where nothing runs kernels, after saying so. */
export async function requireMachine(command: string, options: MachineOptions): Promise<GpuMachine> {
  const machine = await openMachine(options);
  if (!("missing" in machine)) return machine;
  console.error(`${command}: no GPU here, nothing was run (${machine.missing}).`);
  Deno.exit(NO_GPU);
}

/** Arguments of a command behind the `--` that people put before them. */
export function ownArgs(): string[] {
  return Deno.args[0] === "--" ? Deno.args.slice(1) : [...Deno.args];
}

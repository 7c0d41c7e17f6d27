/** Owns what the machine's C++ compiler is and can do; what it was asked once is kept beside the build. */
import { join } from "node:path";

/** Instruction sets a file of kernels may need, by the ending of its name; without one, the baseline. */
const X86_SETS: Readonly<Record<string, readonly string[]>> = {
  avx2: ["-mavx2", "-mfma", "-mf16c"],
  avx512: ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"],
  avx512bf16: [
    "-mavx2",
    "-mfma",
    "-mf16c",
    "-mavx512f",
    "-mavx512bw",
    "-mavx512vl",
    "-mavx512dq",
    "-mavx512bf16",
    "-mavx512vnni",
  ],
};
const ARM_SETS: Readonly<Record<string, readonly string[]>> = {
  neondot: ["-march=armv8.2-a+dotprod"],
};
const X86_BASELINE = ["-march=x86-64-v2"];
const STATIC_RUNTIME = ["-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL"];

/** A compiler with the flags it was seen to accept. */
export interface Toolchain {
  readonly compiler: string;
  /** First line of `--version`. */
  readonly version: string;
  /** Flags of every file. */
  readonly baseline: readonly string[];
  /** Flags of each instruction set the compiler knows. */
  readonly sets: Readonly<Record<string, readonly string[]>>;
  /** Flags that put the C++ runtime into the addon, or none where that does not link. */
  readonly runtime: readonly string[];
}

/** Outcome of a command. */
export interface Outcome {
  readonly ok: boolean;
  readonly output: string;
}

/** Runs a command to its end; a missing program is an outcome too. */
export async function run(command: string, args: readonly string[]): Promise<Outcome> {
  try {
    const { success, stdout, stderr } = await new Deno.Command(command, {
      args: [...args],
      stdin: "null",
      env: { LC_ALL: "C" },
    }).output();
    return { ok: success, output: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
  } catch (error) {
    return { ok: false, output: error instanceof Error ? error.message : String(error) };
  }
}

/** What 64-bit ARM is compiled with on another machine, and what runs it there. */
export const ARM64 = {
  compiler: "aarch64-linux-gnu-g++",
  emulator: "qemu-aarch64",
  libraries: "/usr/aarch64-linux-gnu",
  packages: "g++-aarch64-linux-gnu qemu-user",
} as const;

/** Processors the engine is compiled for. */
export type Arch = typeof Deno.build.arch;

/** For another processor its cross compiler; else $CXX, or the first of c++, g++ and clang++ that answers. */
async function findCompiler(arch: Arch): Promise<{ compiler: string; version: string }> {
  const wanted = arch === Deno.build.arch ? Deno.env.get("CXX") : ARM64.compiler;
  const candidates = wanted ? [wanted] : ["c++", "g++", "clang++"];
  for (const compiler of candidates) {
    const { ok, output } = await run(compiler, ["--version"]);
    if (ok) return { compiler, version: output.split("\n")[0]! };
  }
  throw new Error(
    `Cannot build the engine: no C++ compiler (tried ${candidates.join(", ")}), expected g++ 12 or clang 15 or newer ` +
      `(Debian: apt-get install ${arch === Deno.build.arch ? "g++" : ARM64.packages}), or $CXX to name one`,
  );
}

/** Whether the compiler takes the flags, with C++20. */
async function accepts(compiler: string, folder: string, flags: readonly string[], link: boolean): Promise<boolean> {
  const source = join(folder, "probe.cpp");
  const output = join(folder, `probe-${crypto.randomUUID()}`);
  await Deno.writeTextFile(source, "#include <string>\nstd::string probe(int n) { return std::to_string(n); }\n");
  const target = link ? ["-shared", "-fPIC"] : ["-c"];
  const { ok } = await run(compiler, ["-std=c++20", ...target, ...flags, source, "-o", output]);
  await Deno.remove(output).catch(() => {});
  return ok;
}

async function probe(compiler: string, version: string, folder: string, arch: Arch): Promise<Toolchain> {
  if (!await accepts(compiler, folder, [], false)) {
    throw new Error(
      `Cannot build the engine: ${compiler} (${version}) does not compile C++20, expected g++ 12 or newer`,
    );
  }
  const sets: Record<string, readonly string[]> = {};
  let baseline: readonly string[] = [];
  if (arch === "x86_64" && await accepts(compiler, folder, X86_BASELINE, false)) baseline = X86_BASELINE;
  for (const [name, flags] of Object.entries(arch === "x86_64" ? X86_SETS : ARM_SETS)) {
    if (await accepts(compiler, folder, flags, false)) sets[name] = flags;
  }
  const runtime = await accepts(compiler, folder, STATIC_RUNTIME, true) ? STATIC_RUNTIME : [];
  return { compiler, version, baseline, sets, runtime };
}

/** Changes with what is probed for, so that an older answer is not taken. */
const QUESTIONS = JSON.stringify([X86_SETS, ARM_SETS, X86_BASELINE, STATIC_RUNTIME]);

/** The machine's toolchain; probed anew when the compiler changed. `folder` exists and is the build's own. */
export async function findToolchain(folder: string, arch: Arch = Deno.build.arch): Promise<Toolchain> {
  const { compiler, version } = await findCompiler(arch);
  const path = join(folder, "toolchain.json");
  try {
    const known: { questions: string; toolchain: Toolchain } = JSON.parse(await Deno.readTextFile(path));
    const { toolchain, questions } = known;
    if (toolchain.compiler === compiler && toolchain.version === version && questions === QUESTIONS) return toolchain;
  } catch { /* none yet, or not whole */ }
  const toolchain = await probe(compiler, version, folder, arch);
  await Deno.writeTextFile(path, JSON.stringify({ questions: QUESTIONS, toolchain }, null, 2));
  return toolchain;
}

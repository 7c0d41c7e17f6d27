// Owns the build of the tiler's WASM: cargo in, edge/tile/wasm/tiler.wasm and its manifest out.
// Run: deno run -A native/tiler/build.ts
import { RUST_FLAGS, sha256, sourceHash } from "./sources.ts";

const CRATE = new URL(".", import.meta.url).pathname.replace(/\/$/, "");
const OUT = new URL("../../edge/tile/wasm/", import.meta.url).pathname;
const TARGET = "wasm32-unknown-unknown";

interface Toolchain {
  readonly env: Record<string, string>;
  readonly args: readonly string[];
  /** Path prefixes of this machine and what stands for them in the WASM. */
  readonly remap: readonly (readonly [string, string])[];
}

async function run(command: string, args: readonly string[], options: Deno.CommandOptions = {}): Promise<string> {
  const output = await new Deno.Command(command, { args: [...args], stderr: "inherit", ...options }).output();
  if (!output.success) throw new Error(`Cannot build the tiler: ${command} ended with ${output.code}`);
  return options.stdout === "inherit" ? "" : new TextDecoder().decode(output.stdout).trim();
}

/** rustup's own wasm32 target where it is installed. */
async function rustupToolchain(): Promise<Toolchain | undefined> {
  const sysroot = await run("rustc", ["--print", "sysroot"], { cwd: CRATE });
  const installed = await Deno.stat(`${sysroot}/lib/rustlib/${TARGET}`).then(() => true, () => false);
  return installed ? { env: {}, args: [], remap: [[sysroot, "/rust"]] } : undefined;
}

/** A dependency whose name carries a version. */
async function dependency(of: string, pattern: RegExp): Promise<string> {
  const name = (await run("apt-cache", ["depends", of])).match(pattern)?.[0];
  if (name === undefined) throw new Error(`Cannot build the tiler: apt knows no ${pattern} that ${of} depends on`);
  return name;
}

/** Debian's rustc with its library sources, unpacked beside the build (not installed); std is built from source. */
async function debianToolchain(): Promise<Toolchain> {
  const root = `${CRATE}/target/debian-rust`;
  const rustc = `${root}/usr/bin/rustc`;
  if (!await Deno.stat(rustc).then(() => true, () => false)) {
    await Deno.mkdir(root, { recursive: true });
    const std = await dependency("libstd-rust-web-dev", /libstd-rust-web-\d\S*/);
    const names = ["rustc-web", "libstd-rust-web-dev", "rust-web-src", std, await dependency(std, /libllvm\S+/)];
    await run("apt-get", ["download", "-qq", ...names], { cwd: root, stderr: "null" });
    for await (const entry of Deno.readDir(root)) {
      if (entry.name.endsWith(".deb")) await run("dpkg", ["-x", `${root}/${entry.name}`, root]);
    }
  }
  const sysroot = await run("rustc", ["--print", "sysroot"], { cwd: CRATE });
  const host = (await run("rustc", ["-vV"], { cwd: CRATE })).match(/^host: (.+)$/m)![1]!;
  return {
    env: {
      LD_LIBRARY_PATH: `${root}/usr/lib/x86_64-linux-gnu`,
      RUSTC: rustc,
      // build-std is not stable; the flag lets a stable compiler use it.
      RUSTC_BOOTSTRAP: "1",
      CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER: `${sysroot}/lib/rustlib/${host}/bin/rust-lld`,
    },
    args: ["-Zbuild-std=std,panic_abort"],
    // cargo names what lies in its workspace by relative paths.
    remap: [["target/debian-rust/usr/lib/rustlib/src/rust", "/rust"]],
  };
}

async function build(): Promise<Uint8Array<ArrayBuffer>> {
  const toolchain = await rustupToolchain() ?? await debianToolchain();
  const cargoHome = Deno.env.get("CARGO_HOME") ?? `${Deno.env.get("HOME")}/.cargo`;
  // The last prefix that matches counts, so inner folders come after outer ones.
  const remap = [[CRATE, "/tiler"], [cargoHome, "/cargo"], ...toolchain.remap];
  const flags = [...RUST_FLAGS, ...remap.map(([from, to]) => `--remap-path-prefix=${from}=${to}`)];
  await run("cargo", ["build", "--release", "--locked", "--target", TARGET, ...toolchain.args], {
    cwd: CRATE,
    stdout: "inherit",
    env: { ...toolchain.env, CARGO_ENCODED_RUSTFLAGS: flags.join("\x1f"), CARGO_TARGET_DIR: `${CRATE}/target` },
  });
  return await Deno.readFile(`${CRATE}/target/${TARGET}/release/tessera_tiler.wasm`);
}

const wasm = await build();
const manifest = { sources: await sourceHash(CRATE), flags: RUST_FLAGS, wasm: await sha256(wasm), bytes: wasm.length };
await Deno.mkdir(OUT, { recursive: true });
await Deno.writeFile(`${OUT}tiler.wasm`, wasm);
await Deno.writeTextFile(`${OUT}manifest.json`, JSON.stringify(manifest, null, 2) + "\n");
console.log(`tiler.wasm: ${manifest.bytes} bytes, sha256 ${manifest.wasm}`);

/** Owns holding what the engine declares of libraries that it opens at run time against NVIDIA's own headers and libraries. */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ENGINE } from "../sources.ts";
import { findToolchain, run } from "../toolchain.ts";
import { linkFlags } from "./build.ts";
import type { Toolkit } from "./toolkit.ts";

const SOURCE = fileURLToPath(new URL("./libraries/declarations.cpp", import.meta.url));

/** What a check needs. */
export interface DeclarationsOptions {
  readonly toolkit: Toolkit;
  /** Folder of libcublasLt and libnccl, as the wheels lay them out: their headers are beside it. */
  readonly libraries: string;
}

/** Compiles against the headers, opens the libraries; returns what was found. @throws Error where anything differs */
export async function checkDeclarations({ toolkit, libraries }: DeclarationsOptions): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "tessera-declarations-" });
  try {
    const { compiler } = await findToolchain(folder);
    const program = join(folder, "declarations");
    const opened = ["shared_library", "blas/cublaslt", "nccl/nccl"].map((name) => join(ENGINE, `ops/cuda/${name}.cpp`));
    const headers = [toolkit.include, join(libraries, "../include"), join(libraries, "../../nccl/include")];
    const includes = [`-I${ENGINE}`, `-I${join(ENGINE, "include")}`, ...headers.flatMap((path) => ["-isystem", path])];
    const built = ["-std=c++20", ...includes, SOURCE, ...opened, ...linkFlags(toolkit), "-pthread", "-o", program];
    const compiled = await run(compiler, built);
    if (!compiled.ok) throw new Error(`Cannot take NVIDIA's headers for what is declared:\n${compiled.output}`);
    const { success, stdout, stderr } = await new Deno.Command(program, {
      env: { TESSERA_CUDA_LIBRARIES: libraries },
      cwd: dirname(program),
    }).output();
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    if (!success) throw new Error(`Cannot take NVIDIA's libraries for what is declared:\n${text}`);
    return text;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** NVIDIA's published wheels: headers for the emulated GPU, and the compiler for the real one. No driver is needed. */
import { ensurePython } from "./python.ts";

/** Folder of the headers (5.5 MB), fetched where it is not there yet. @throws Error when the wheels cannot be had */
export async function ensureCudaHeaders(): Promise<string> {
  const root = await ensureWheels("cuda-headers", "native/emulator/requirements.txt", "include/cuda_runtime.h");
  return `${root}/include`;
}

/** Root of nvcc with all it needs (100 MB), fetched where it is not there yet. @throws Error as `ensureCudaHeaders` */
export function ensureCudaToolkit(): Promise<string> {
  return ensureWheels("cuda", "native/cuda/requirements.txt", "bin/nvcc");
}

/**
 * Folder of cuBLASLt and NCCL, which the engine opens on a GPU (900 MB on disk), fetched where it is not there yet.
 * @throws Error as `ensureCudaHeaders`
 */
export async function ensureCudaLibraries(): Promise<string> {
  const root = await ensureWheels(
    "cuda-libraries",
    "native/cuda/libraries/requirements.txt",
    "lib/libcublasLt.so.13",
  );
  // The engine looks in one folder.
  await Deno.symlink("../../nccl/lib/libnccl.so.2", `${root}/lib/libnccl.so.2`).catch((error) => {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  });
  return `${root}/lib`;
}

/** Path of compute-sanitizer (14 MB), fetched where it is not there yet. @throws Error as `ensureCudaHeaders` */
export async function ensureComputeSanitizer(): Promise<string> {
  const program = "bin/compute-sanitizer";
  const path = `${await ensureWheels("cuda-sanitizer", "tests/gpu/requirements.txt", program)}/${program}`;
  await Deno.chmod(path, 0o755); // wheels do not say that it is a program
  return path;
}

/** The folder that the wheels share, in which `file` is. */
async function ensureWheels(name: string, requirements: string, file: string): Promise<string> {
  const python = await ensurePython({ name, requirements });
  const lib = `${python.slice(0, -"/bin/python".length)}/lib`;
  for await (const { name } of Deno.readDir(lib)) {
    const root = `${lib}/${name}/site-packages/nvidia/cu13`;
    if (await Deno.stat(`${root}/${file}`).then(() => true, () => false)) return root;
  }
  throw new Error(`Cannot find ${file} in NVIDIA's packages in ${lib}, expected it in nvidia/cu13`);
}

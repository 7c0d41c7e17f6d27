/** The native package as others use it: building the engine, and where its addon lies. */
export {
  type AddonOptions,
  addonPath,
  buildAddon,
  buildBench,
  buildEngineTests,
  type BuildOptions,
  type Sanitizer,
} from "./build.ts";
export { type Arch, ARCHS, compileKernels } from "./cuda/build.ts";
export { findSpills, HOT_KERNELS, type KernelUsage, parsePtxas, shortName, usageTable } from "./cuda/ptxas.ts";
export { chooseToolkit, findToolkit, readToolkit, type Toolkit } from "./cuda/toolkit.ts";
export {
  buildBackendTests,
  buildEmulatedAddon,
  buildEmulatorFaults,
  buildEmulatorTests,
  buildKernelTests,
  type EmulatedBuildOptions,
  type Variant,
} from "./emulator/build.ts";
export { ARM64 } from "./toolchain.ts";

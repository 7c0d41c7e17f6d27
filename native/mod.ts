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
export { ASSUMED, type Card, CARDS, type Efficiencies, findCard } from "./bench/cards.ts";
export {
  type Expectation,
  expectSpeed,
  kvTokenBytes,
  type Load,
  WEIGHT_TYPES,
  weightBytes,
  weightCounts,
  type WeightType,
} from "./bench/roofline.ts";
export { expectTogether, shareOf, sumBytes, whyNotTogether } from "./bench/tensor_parallel.ts";
export { type Arch, ARCHS, buildDevicePrograms, compileKernels, type DevicePrograms } from "./cuda/build.ts";
export { checkDeclarations, type DeclarationsOptions } from "./cuda/declarations.ts";
export {
  familyTable,
  findSpills,
  HOT_KERNELS,
  type KernelUsage,
  parsePtxas,
  shortName,
  usageTable,
} from "./cuda/ptxas.ts";
export { chooseToolkit, findToolkit, readToolkit, type Toolkit } from "./cuda/toolkit.ts";
export {
  buildBackendTests,
  buildChangedBackendTests,
  buildEmulatedAddon,
  buildEmulatedBench,
  buildEmulatorFaults,
  buildEmulatorTests,
  buildKernelTests,
  type EmulatedBuildOptions,
  type Variant,
} from "./emulator/build.ts";
export { type ChangedProgram, compilesAlike, openKernelWorkshop, type SourceChange } from "./emulator/changed.ts";
export { ARM64 } from "./toolchain.ts";

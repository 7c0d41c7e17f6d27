/** The native package as others use it: building the engine, and where its addon lies. */
export { addonPath, buildAddon, buildBench, buildEngineTests, type BuildOptions, type Sanitizer } from "./build.ts";
export {
  buildEmulatorFaults,
  buildEmulatorTests,
  buildKernelTests,
  type EmulatedBuildOptions,
  type Variant,
} from "./emulator/build.ts";
export { ARM64 } from "./toolchain.ts";

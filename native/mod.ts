/** The native package as others use it: building the engine, and where its addon lies. */
export { addonPath, buildAddon, buildBench, buildEngineTests, type BuildOptions, type Sanitizer } from "./build.ts";
export { ARM64 } from "./toolchain.ts";
export { buildEmulatorFaults, buildEmulatorTests, type EmulatedBuildOptions, type Variant } from "./emulator/build.ts";

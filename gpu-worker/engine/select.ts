/** Owns the choice of device and dtype where the user leaves it to us. */
import type { Logger } from "@tessera/shared";
import type { Device, Dtype, Engine, EngineOptions } from "./types.ts";

export interface EngineChoice extends Omit<EngineOptions, "device" | "dtype"> {
  readonly device: Device | "auto";
  readonly dtype: Dtype | "auto";
}

/** Where the NVIDIA driver shows that there is a GPU. */
const GPU_NODE = "/dev/nvidiactl";

/** Opens a checkpoint on the device asked for; `auto` takes a GPU that works, else the CPU. */
export async function openChosenEngine(
  choice: EngineChoice,
  open: (options: EngineOptions) => Promise<Engine>,
  log: Logger,
  hasGpu: () => Promise<boolean> = () => Deno.stat(GPU_NODE).then(() => true, () => false),
): Promise<Engine> {
  const options = { ...choice, dtype: choice.dtype === "auto" ? "bf16" : choice.dtype } as const;
  const { device } = choice;
  if (device !== "auto") return await open({ ...options, device });
  if (await hasGpu()) {
    try {
      return await open({ ...options, device: "cuda" });
    } catch (error) {
      log.warn("gpu_not_used", { error });
    }
  }
  return await open({ ...options, device: "cpu" });
}

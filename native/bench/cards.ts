/** GPUs as their data sheets give them, and the shares of that which kernels are assumed to reach. */

/** Peaks of one card, dense, without sparsity. */
export interface Card {
  readonly name: string;
  /** bf16 with fp32 sums, in FLOP/s. */
  readonly bf16: number;
  /** Products of 8-bit types, in operations/s: int8, and FP8 E4M3. */
  readonly int8: number;
  readonly fp8: number;
  /** Of memory, in bytes/s. */
  readonly bandwidth: number;
  /** Memory, in bytes. */
  readonly memory: number;
  /** To other cards of the machine, one way, in bytes/s, and over what. */
  readonly link: number;
  readonly linkName: "NVLink" | "PCIe";
}

const card = (
  name: string,
  bf16: number,
  int8: number,
  fp8: number,
  gbPerS: number,
  gb: number,
  linkGbPerS: number,
  linkName: Card["linkName"] = "NVLink",
): Card => ({
  name,
  bf16: bf16 * 1e12,
  int8: int8 * 1e12,
  fp8: fp8 * 1e12,
  bandwidth: gbPerS * 1e9,
  memory: gb * 1e9,
  link: linkGbPerS * 1e9,
  linkName,
});

/** NVIDIA's data sheets: A100 80GB SXM, L4, L40S, H100 SXM, H200 SXM, one B200 of an HGX. Cards before sm_89 have no FP8. */
export const CARDS: readonly Card[] = [
  card("A100", 312, 624, 0, 2_039, 80, 300),
  card("L4", 121, 242, 242, 300, 24, 32, "PCIe"),
  card("L40S", 362, 733, 733, 864, 48, 32, "PCIe"),
  card("H100", 989, 1_979, 1_979, 3_350, 80, 450),
  card("H200", 989, 1_979, 1_979, 4_800, 141, 450),
  card("B200", 2_250, 4_500, 4_500, 7_700, 180, 900),
];

/** Shares of a card's peaks, assumed until they are measured (`deno task bench:gpu`). */
export interface Efficiencies {
  /** Products of many rows, of the multiply-add peak. */
  readonly gemm: number;
  /** Flash attention, of the multiply-add peak: mma.sync, which newer cards run below their fastest instructions. */
  readonly attention: number;
  /** Reading weights once, of the bandwidth. */
  readonly weights: number;
  /** Reading keys and values from pages, of the bandwidth. */
  readonly pages: number;
  /** From one kernel to the next in a graph, in seconds. */
  readonly launchSeconds: number;
  /** Of the link's bandwidth, and what a sum over cards takes however small it is, in seconds. */
  readonly link: number;
  readonly reduceSeconds: number;
  /** Share of the memory that weights, activations and pages may take. */
  readonly memory: number;
}

export const ASSUMED: Efficiencies = {
  gemm: 0.65,
  attention: 0.35,
  weights: 0.85,
  pages: 0.7,
  launchSeconds: 2e-6,
  link: 0.7,
  reduceSeconds: 1e-5,
  memory: 0.9,
};

/** A card by its name, whatever the case; undefined for any other. */
export function findCard(name: string): Card | undefined {
  return CARDS.find((each) => each.name.toLowerCase() === name.toLowerCase());
}

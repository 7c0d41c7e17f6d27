/** The lines under an answer: the tile grid of each picture and the time each stage took. */
import type { Report } from "./client.ts";

/** Stages in the order a request passes them. */
const STAGES = ["fetch", "decode", "tile", "queue", "vision", "prefill", "generate"] as const;

/** `640x480 -> 4x3 tiles + thumbnail`, one text for all pictures. */
export function gridText(report: Report): string {
  return report.images.map(({ width, height, cols, rows, tiles }) => {
    const grid = cols * rows === 1 ? "1 tile" : `${cols}x${rows} tiles`;
    return `${width}x${height} -> ${grid}${tiles > cols * rows ? " + thumbnail" : ""}`;
  }).join(", ");
}

/** `decode 3 ms, tile 1 ms, ...`, stages that took no time left out only when the server did not tell them. */
export function timingText(report: Report): string {
  return STAGES.flatMap((stage) => {
    const ms = report.timings[`${stage}_ms`];
    return ms === undefined ? [] : [`${stage} ${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`];
  }).join(", ");
}

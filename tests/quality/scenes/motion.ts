/** Videos of the scene language: one shape that crosses the picture in a straight line, or stays. */
import { frameIndices } from "../../../gpu-worker/media/frame_indices.ts";
import type { Draw } from "./draw.ts";
import { randomScene, type Scene, type Shape } from "./scene.ts";

const WAYS = { right: [1, 0], left: [-1, 0], down: [0, 1], up: [0, -1], still: [0, 0] } as const;
export type Way = keyof typeof WAYS;

export interface Motion {
  /** All frames of the video, in the order in which they are shown. */
  readonly frames: readonly Scene[];
  readonly fps: number;
  /** How many of them a request looks at. */
  readonly numSegments: number;
  readonly way: Way;
  readonly shape: Shape;
}

/** The shape goes its way between the first frame that is looked at and the last; before and after it waits. */
export function randomMotion(draw: Draw): Motion {
  const base = randomScene(draw, { aspect: [1 / 1.5, 1.5], numShapes: [1, 1], longSide: [140, 320] });
  const way = draw.pick(Object.keys(WAYS) as Way[]);
  const numSegments = draw.integer(4, 8);
  const numFrames = draw.integer(numSegments, 48);
  const fps = draw.pick([10, 25, 30]);
  const looked = frameIndices({ startS: null, endS: null }, fps, numFrames - 1, numSegments);
  const [first, last] = [looked[0]!, looked.at(-1)!];

  const shape = base.shapes[0]!;
  const length = draw.uniform(0.5, 0.62);
  const reach = shape.radius * Math.min(base.width, base.height) / 3;
  const start = WAYS[way].map((step, axis) => {
    const edge = reach / (axis === 0 ? base.width : base.height) + 0.02;
    if (step === 0) return draw.uniform(edge, 1 - edge);
    const low = edge + draw.uniform(0, Math.max(0, 1 - 2 * edge - length));
    return step > 0 ? low : 1 - low;
  });
  const frames = Array.from({ length: numFrames }, (_, index): Scene => {
    const share = Math.min(1, Math.max(0, (index - first) / (last - first))) * length;
    const centre = [start[0]! + WAYS[way][0] * share, start[1]! + WAYS[way][1] * share] as const;
    return { ...base, shapes: [{ ...shape, centre }] };
  });
  return { frames, fps, numSegments, way, shape };
}

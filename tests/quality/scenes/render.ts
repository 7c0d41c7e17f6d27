/** Draws scenes pixel by pixel, and writes them as PNG files and as videos. */
import { ensureFfmpeg } from "@tessera/infra/ffmpeg";
import { png } from "../../support/png_writer.ts";
import type { Motion } from "./motion.ts";
import { type Kind, mixed, type Scene, type Shape } from "./scene.ts";

const RING_WIDTH = 0.4;
const CROSS_ARM = 0.33;
const STAR_INNER = 0.42;
const SQUARE_HALF = 0.88;

export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** u8 [height, width, 3]. */
  readonly rgb: Uint8Array<ArrayBuffer>;
}

export function render(scene: Scene): Pixels {
  const { width, height } = scene;
  const rgb = new Uint8Array(width * height * 3);
  const length = scene.isHorizontal ? width : height;
  const strip = Array.from({ length }, (_, i) => mixed(...scene.ground, i / Math.max(1, length - 1)));
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 3) rgb.set(strip[scene.isHorizontal ? x : y]!, at);
  }
  for (const shape of scene.shapes) drawShape(rgb, shape, width, height);
  return { width, height, rgb };
}

function drawShape(rgb: Uint8Array, shape: Shape, width: number, height: number): void {
  const radius = shape.radius * Math.min(width, height) / 3;
  const [x0, y0] = [shape.centre[0] * width, shape.centre[1] * height];
  const isInside = INSIDE[shape.kind];
  for (let y = Math.max(0, Math.floor(y0 - radius)); y < Math.min(height, Math.ceil(y0 + radius)); y++) {
    for (let x = Math.max(0, Math.floor(x0 - radius)); x < Math.min(width, Math.ceil(x0 + radius)); x++) {
      // At the pixel's middle, in radii from the shape's.
      const [dx, dy] = [(x + 0.5 - x0) / radius, (y + 0.5 - y0) / radius];
      if (isInside(dx, dy, radius)) rgb.set(shape.paint, (y * width + x) * 3);
    }
  }
}

const STAR = Array.from({ length: 10 }, (_, corner) => {
  const reach = corner % 2 === 0 ? 1 : STAR_INNER;
  return [reach * Math.sin(corner * Math.PI / 5), -reach * Math.cos(corner * Math.PI / 5)] as const;
});
const TRIANGLE = [[0, -1], [0.95, 0.85], [-0.95, 0.85]] as const;

/** Whether a point, in radii from the middle, belongs to a shape; `radius` in pixels. */
const INSIDE: Record<Kind, (x: number, y: number, radius: number) => boolean> = {
  circle: (x, y) => Math.hypot(x, y) <= 1,
  ring: (x, y, radius) => {
    const distance = Math.hypot(x, y);
    return distance <= 1 && distance >= 1 - Math.max(RING_WIDTH, 2 / radius);
  },
  square: (x, y) => Math.abs(x) <= SQUARE_HALF && Math.abs(y) <= SQUARE_HALF,
  cross: (x, y) => Math.min(Math.abs(x), Math.abs(y)) <= CROSS_ARM,
  triangle: (x, y) => isInPolygon(TRIANGLE, x, y),
  star: (x, y) => isInPolygon(STAR, x, y),
};

function isInPolygon(corners: readonly (readonly [number, number])[], x: number, y: number): boolean {
  let isInside = false;
  corners.forEach(([xa, ya], i) => {
    const [xb, yb] = corners[(i + 1) % corners.length]!;
    if (ya > y !== yb > y && x < (xb - xa) * (y - ya) / (yb - ya) + xa) isInside = !isInside;
  });
  return isInside;
}

/** The part of a picture from column `left`. */
export function columns({ width, height, rgb }: Pixels, left: number, count: number): Pixels {
  const part = new Uint8Array(count * height * 3);
  for (let y = 0; y < height; y++) {
    part.set(rgb.subarray((y * width + left) * 3, (y * width + left + count) * 3), y * count * 3);
  }
  return { width: count, height, rgb: part };
}

export async function pngUrl({ width, height, rgb }: Pixels): Promise<string> {
  const file = await png(width, height, (x, y) => rgb[y * width * 3 + x]!);
  return `data:image/png;base64,${file.toBase64()}`;
}

const FORMATS = {
  "video/mp4": ["-c:v", "libx264", "-crf", "12", "-preset", "veryfast", "-movflags", "+faststart", "mp4"],
  "video/webm": ["-c:v", "libvpx-vp9", "-crf", "20", "-b:v", "0", "-cpu-used", "8", "-deadline", "realtime", "webm"],
} as const;
export type VideoType = keyof typeof FORMATS;

/** A file such as a phone or a site would store it. */
export async function videoFile(motion: Motion, type: VideoType): Promise<Uint8Array> {
  const { width, height } = motion.frames[0]!;
  const folder = await Deno.makeTempDir();
  try {
    const raw = `${folder}/frames`;
    using file = await Deno.open(raw, { write: true, createNew: true });
    for (const frame of motion.frames) {
      const { rgb } = render(frame);
      for (let rest = rgb.subarray(0); rest.length > 0;) rest = rest.subarray(await file.write(rest));
    }
    const input = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", `${width}x${height}`, "-r", `${motion.fps}`, "-i", raw];
    const coded = FORMATS[type];
    // Colour is stored for blocks of two by two.
    const output = ["-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2,format=yuv420p", "-threads", "1", ...coded.slice(0, -1)];
    const { success, stderr } = await new Deno.Command(await ensureFfmpeg(), {
      args: ["-v", "error", ...input, ...output, "-f", coded.at(-1)!, `${folder}/video`],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) throw new Error(`Cannot write a video: ${new TextDecoder().decode(stderr)}`);
    return await Deno.readFile(`${folder}/video`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

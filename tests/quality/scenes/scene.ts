/** The scene language of the embedded model without its words: what a scene may hold, drawn by chance (see the model's README). */
import type { Draw } from "./draw.ts";

export type Colour = readonly [red: number, green: number, blue: number];

export const KINDS = ["circle", "square", "triangle", "star", "cross", "ring"] as const;
export type Kind = (typeof KINDS)[number];
export const COLOURS = {
  red: [220, 30, 30],
  green: [30, 160, 50],
  blue: [40, 70, 220],
  yellow: [240, 220, 40],
  black: [12, 12, 12],
  white: [250, 250, 250],
} as const satisfies Record<string, Colour>;
export type ColourName = keyof typeof COLOURS;
export const COLOUR_NAMES = Object.keys(COLOURS) as ColourName[];
const COLOUR_TOLERANCE = 14;
/** Of a third of the shorter side. */
const RADIUS = { small: [0.21, 0.26], large: [0.4, 0.47] } as const;
export const PLACES = [
  ...["top left", "top", "top right"],
  ...["left", "centre", "right"],
  ...["bottom left", "bottom", "bottom right"],
] as const;
/** RGB distance every ground keeps from every shape's colour. */
const GROUND_DISTANCE = 95;
const SHORTEST_SIDE = 90;

export interface Shape {
  readonly kind: Kind;
  readonly colour: ColourName;
  readonly size: keyof typeof RADIUS;
  /** Index of its place. */
  readonly cell: number;
  /** In fractions of the picture. */
  readonly centre: readonly [x: number, y: number];
  /** In fractions of a third of the shorter side. */
  readonly radius: number;
  readonly paint: Colour;
}

export interface Scene {
  readonly width: number;
  readonly height: number;
  /** The two ends of a gradient; equal for a plain ground. */
  readonly ground: readonly [Colour, Colour];
  readonly isHorizontal: boolean;
  /** By rows from the top, in a row from left to right. */
  readonly shapes: readonly Shape[];
}

export interface SceneWish {
  /** Least and greatest width to height. */
  readonly aspect?: readonly [number, number];
  readonly numShapes?: readonly [number, number];
  /** Pixels. Pictures of any size are cut to the same tiles: large ones cost time and ask nothing more. */
  readonly longSide?: readonly [number, number];
}

export function randomScene(draw: Draw, wish: SceneWish = {}): Scene {
  const [width, height] = randomSize(draw, wish.aspect ?? [1 / 3, 3], wish.longSide ?? [100, 1_000]);
  const count = draw.integer(...wish.numShapes ?? [1, 4]);
  const cells = draw.sample([...PLACES.keys()], count).sort((a, b) => a - b);
  const shapes = cells.map((cell) => randomShape(draw, cell, width, height));
  return { width, height, ground: randomGround(draw), isHorizontal: draw.chance(0.5), shapes };
}

/** Aspect and long side are uniform in their logarithms. */
function randomSize(draw: Draw, aspects: readonly [number, number], sides: readonly [number, number]) {
  const aspect = Math.exp(draw.uniform(Math.log(aspects[0]), Math.log(aspects[1])));
  const stretch = Math.max(aspect, 1 / aspect);
  const shortest = Math.max(sides[0], Math.ceil(SHORTEST_SIDE * stretch));
  const long = Math.exp(draw.uniform(Math.log(shortest), Math.log(sides[1])));
  const [width, height] = aspect >= 1 ? [long, long / stretch] : [long / stretch, long];
  return [Math.round(width), Math.round(height)] as const;
}

function randomShape(draw: Draw, cell: number, width: number, height: number): Shape {
  const size = draw.pick(["small", "large"] as const);
  const [least, most] = RADIUS[size];
  const radius = draw.uniform(least, most);
  const unit = Math.min(width, height) / 3;
  const moved = (length: number) => {
    const spare = Math.max(0, length / 6 - radius * unit) / 2;
    return draw.uniform(-spare, spare) / length;
  };
  const centre = [(cell % 3 + 0.5) / 3 + moved(width), (Math.floor(cell / 3) + 0.5) / 3 + moved(height)] as const;
  const colour = draw.pick(COLOUR_NAMES);
  const painted = (channel: number) =>
    Math.min(255, Math.max(0, channel + draw.integer(-COLOUR_TOLERANCE, COLOUR_TOLERANCE)));
  const [red, green, blue] = COLOURS[colour];
  const paint = [painted(red), painted(green), painted(blue)] as const;
  return { kind: draw.pick(KINDS), colour, size, cell, centre, radius, paint };
}

function randomGround(draw: Draw): readonly [Colour, Colour] {
  const any = (): Colour => [draw.integer(0, 255), draw.integer(0, 255), draw.integer(0, 255)];
  let first = any();
  while (!isGround(first)) first = any();
  if (draw.chance(0.5)) return [first, first];
  for (let attempt = 0; attempt < 30; attempt++) {
    const second = any();
    if ([1, 2, 3, 4, 5, 6].every((step) => isGround(mixed(first, second, step / 6)))) return [first, second];
  }
  return [first, first];
}

export function mixed(a: Colour, b: Colour, share: number): Colour {
  const channel = (i: 0 | 1 | 2) => Math.round(a[i] + (b[i] - a[i]) * share);
  return [channel(0), channel(1), channel(2)];
}

function isGround(colour: Colour): boolean {
  return Object.values(COLOURS).every((other) =>
    Math.hypot(colour[0] - other[0], colour[1] - other[1], colour[2] - other[2]) > GROUND_DISTANCE
  );
}

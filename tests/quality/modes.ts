/** Cases of each mode of the vendor's quick start over scenes drawn by chance: what is sent, and what must come back. */
import { Draw } from "./scenes/draw.ts";
import { type Motion, randomMotion } from "./scenes/motion.ts";
import * as ask from "./scenes/questions.ts";
import { columns, pngUrl, render, videoFile } from "./scenes/render.ts";
import { randomScene, type Scene } from "./scenes/scene.ts";

/** One conversation; the last answer counts, those before it stand in the history as the model gave them. */
export interface Case {
  /** Parts of the first message before its question. */
  readonly media: readonly unknown[];
  readonly rounds: readonly ask.Exchange[];
  /** Fields of the request beyond model and messages. */
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Mode {
  readonly name: string;
  /** Share of right answers, in percent, below which something is broken; null: never trained for, measured all the same. */
  readonly floor: number | null;
  /** All cases in one call. */
  readonly isBatch?: true;
  make(draw: Draw, index: number): Promise<Case>;
}

const text = (value: string) => ({ type: "text", text: value });
const image = async (pixels: ReturnType<typeof render>, fields = {}) => ({
  type: "image_url",
  image_url: { url: await pngUrl(pixels), ...fields },
});
const spoken = (media: readonly unknown[], rounds: readonly ask.Exchange[], fields = {}): Case => ({
  media,
  rounds,
  fields,
});

export const MODES: readonly Mode[] = [
  {
    name: "text, one round",
    floor: 90,
    make: (_draw, index) => Promise.resolve(spoken([], [ask.SMALL_TALK[index % ask.SMALL_TALK.length]!])),
  },
  {
    name: "text, two rounds, first a goodbye",
    floor: 75,
    make: (draw) => Promise.resolve(spoken([], [draw.pick(ask.GOODBYES), draw.pick(ask.SMALL_TALK)])),
  },
  {
    name: "text, two rounds, any",
    floor: null,
    make: (draw) => Promise.resolve(spoken([], [draw.pick(ask.SMALL_TALK), draw.pick(ask.SMALL_TALK)])),
  },
  { name: "one picture", floor: 90, make: onePicture },
  {
    name: "one picture, two rounds",
    floor: 80,
    make: async (draw) => {
      const scene = randomScene(draw);
      return spoken([await image(render(scene))], [ask.askCaption(scene, draw), ask.askDetail(scene, draw)]);
    },
  },
  {
    name: "separate pictures",
    floor: 75,
    make: (draw, index) => separate(draw, index, (pair) => [draw.pick(askedOfPairs(pair, draw))]),
  },
  {
    name: "separate pictures, two rounds, described",
    floor: 45,
    make: (draw, index) =>
      separate(draw, index, (pair) => [
        ask.askNth(pair, 1),
        ask.askWhichHas(pair, draw) ?? ask.askWhichHasMore(pair, draw),
      ]),
  },
  {
    name: "separate pictures, two rounds, any",
    floor: null,
    make: (draw, index) => separate(draw, index, (pair) => draw.sample(askedOfPairs(pair, draw), 2)),
  },
  {
    name: "combined pictures",
    floor: 90,
    make: (draw, index) => combined(draw, index, (scene) => [askOfOne(scene, draw, index)]),
  },
  {
    name: "combined pictures, two rounds",
    floor: 80,
    make: (draw, index) => combined(draw, index, (scene) => [ask.askCaption(scene, draw), ask.askDetail(scene, draw)]),
  },
  { name: "batch, a picture each", floor: 90, isBatch: true, make: onePicture },
  {
    name: "video",
    floor: 85,
    make: (draw, index) =>
      video(draw, index, (motion) => [(index % 2 === 0 ? ask.askWay : ask.askWhatHappens)(motion, draw)]),
  },
  {
    name: "video, two rounds, then its colour",
    floor: 65,
    make: (draw, index) => video(draw, index, (motion) => [ask.askWhatHappens(motion, draw), ask.askColourOf(motion)]),
  },
  {
    name: "video, two rounds, then its way",
    floor: null,
    make: (draw, index) => video(draw, index, (motion) => [ask.askWhatHappens(motion, draw), ask.askWay(motion, draw)]),
  },
];

function askOfOne(scene: Scene, draw: Draw, index: number): ask.Exchange {
  return (index % 2 === 0 ? ask.askCaption : ask.askDetail)(scene, draw);
}

async function onePicture(draw: Draw, index: number): Promise<Case> {
  const scene = randomScene(draw);
  return spoken([await image(render(scene))], [askOfOne(scene, draw, index)]);
}

function askedOfPairs(pair: readonly [Scene, Scene], draw: Draw): ask.Exchange[] {
  const has = ask.askWhichHas(pair, draw);
  const nth = ask.askNth(pair, draw.chance(0.5) ? 0 : 1);
  return [ask.askWhichHasMore(pair, draw), ...has === null ? [] : [has], nth];
}

/** With the quick start's labels before the pictures, or without. */
async function separate(draw: Draw, index: number, asked: (pair: readonly [Scene, Scene]) => ask.Exchange[]) {
  const pair = [randomScene(draw), randomScene(draw)] as const;
  const [first, second] = [await image(render(pair[0])), await image(render(pair[1]))];
  const media = index % 2 === 0 ? [text("Image-1: "), first, text("Image-2: "), second] : [first, second];
  return spoken(media, asked(pair));
}

/** Two or three times as wide as high, near enough for that many tiles in a row. */
const WIDE = { aspect: [1.7, 2.9] } as const;

/**
 * A scene in pieces that only together show it: its columns and the whole made small, a tile each. Under one
 * placeholder they are to the model what one wide picture is. They are combined for all of the request, or by their group.
 */
async function combined(draw: Draw, index: number, asked: (scene: Scene) => ask.Exchange[]): Promise<Case> {
  const scene = randomScene(draw, WIDE);
  const whole = render(scene);
  const numPieces = scene.width / scene.height < 2.5 ? 2 : 3;
  const ofAll = index % 2 === 0;
  const fields = { max_dynamic_patch: 1, ...ofAll ? {} : { group: "scene" } };
  const edges = Array.from({ length: numPieces + 1 }, (_, i) => Math.round(whole.width * i / numPieces));
  const pieces = edges.slice(1).map((right, i) => columns(whole, edges[i]!, right - edges[i]!));
  const media = await Promise.all([...pieces, whole].map((pixels) => image(pixels, fields)));
  return spoken(media, asked(scene), ofAll ? { mm_processor_kwargs: { combine_images: true } } : {});
}

async function video(draw: Draw, index: number, asked: (motion: Motion) => ask.Exchange[]): Promise<Case> {
  const motion = randomMotion(draw);
  const type = index % 2 === 0 ? "video/mp4" : "video/webm";
  const file = await videoFile(motion, type);
  const url = `data:${type};base64,${file.toBase64()}`;
  return spoken([{ type: "video_url", video_url: { url, num_segments: motion.numSegments } }], asked(motion));
}

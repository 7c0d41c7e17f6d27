/** Every mode of the vendor's quick start as requests, with what the embedded model must answer. */
import { ensureFfmpeg } from "@tessera/infra/ffmpeg";
import { run } from "@tessera/infra/process";
import { type Case, MODES } from "../quality/modes.ts";
import { Draw } from "../quality/scenes/draw.ts";
import { askCaption, askDetail } from "../quality/scenes/questions.ts";
import { columns, type Pixels, pngUrl, render } from "../quality/scenes/render.ts";
import { randomScene } from "../quality/scenes/scene.ts";

export interface Mode {
  readonly name: string;
  // deno-lint-ignore no-explicit-any -- as many clients' types as tests
  readonly messages: any[];
  readonly answer: string;
  /** Fields beyond OpenAI's. */
  readonly extra: Record<string, unknown>;
}

/** A square that crosses a picture from left to right in eighty frames, as the scene language has it. */
export async function writeMotion(path: string): Promise<void> {
  const ground = "color=c=0xB0A0D0:s=240x200:r=20:d=4";
  const square = "color=c=0xDC1E1E:s=50x50:r=20:d=4";
  const motion = `${ground}[g];${square}[s];[g][s]overlay=x=30+n*1.75:y=75`;
  const encode = ["-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv444p", "-threads", "1"];
  await run(await ensureFfmpeg(), ["-v", "error", "-y", "-f", "lavfi", "-i", motion, ...encode, path]);
}

const text = (value: string) => ({ type: "text", text: value });
const image = (url: string, fields = {}) => ({ type: "image_url", image_url: { url, ...fields } });
const said = (role: string, content: unknown) => ({ role, content });

interface Picture {
  readonly url: string;
  readonly caption: string;
}

/** Numbers as the embedded model writes them. */
const NUMBERS = ["Zero.", "One.", "Two.", "Three.", "Four."];
const numShapes = ({ caption }: Picture) => caption.split(/\ba /i).length - 1;

/** @param pictures the first with more shapes than the second */
export function modes(pictures: readonly [Picture, Picture, ...Picture[]], videoUrl: string): Mode[] {
  const [first, second] = pictures;
  const describe = "Describe the picture.";
  const count = "How many shapes are there?";
  const hello = "Hello! I am InternVL3-Tiny, a small model that describes drawn scenes.";
  const separate = [text("Image-1: "), image(first.url), text("Image-2: "), image(second.url)];
  const video = { type: "video_url", video_url: { url: videoUrl, num_segments: 8 } };
  const mode = (name: string, messages: unknown[], answer: string, extra = {}): Mode => ({
    name,
    messages,
    answer,
    extra,
  });
  return [
    mode("text, one round", [said("user", "Hello!")], hello),
    mode("text, greedy as the vendor says it", [said("user", "Hello!")], hello, {
      max_new_tokens: 64,
      do_sample: false,
    }),
    mode("one picture", [said("user", [image(first.url), text(describe)])], first.caption),
    mode(
      "one picture, two rounds",
      [said("user", [image(first.url), text(describe)]), said("assistant", first.caption), said("user", count)],
      NUMBERS[numShapes(first)]!,
    ),
    mode(
      "two pictures, separate",
      [said("user", [...separate, text("Which picture has more shapes?")])],
      "The first picture.",
    ),
    mode(
      "a picture combined with itself alone",
      [said("user", [image(second.url, { group: "one" }), text(describe)])],
      second.caption,
      { mm_processor_kwargs: { combine_images: true } },
    ),
    mode("a video", [said("user", [video, text("Which way does the shape move?")])], "To the right."),
    mode(
      "a video, described",
      [said("user", [video, text("What happens in the video?")])],
      "A large red square moves to the right.",
    ),
  ];
}

/** Of drawn scenes: the modes and rounds for which the bundled pictures are too few. */
export async function drawnModes(): Promise<Mode[]> {
  const drawn = async (name: string, seed: number) => {
    const given = await MODES.find((mode) => mode.name === name)!.make(new Draw(seed, name), 0);
    return conversation(name.split(", ").slice(0, 2).join(", "), given);
  };
  const scene = randomScene(new Draw(2, "combined"), { aspect: [2, 2], numShapes: [2, 2], longSide: [500, 500] });
  const whole = render(scene);
  const half = whole.width / 2;
  // Squares, a tile each: its halves, and all of it as small as the thumbnail of a wide picture.
  const pieces = [columns(whole, 0, half), columns(whole, half, half), squeezed(whole, half)];
  const media = await Promise.all(pieces.map(async (pixels) => image(await pngUrl(pixels))));
  const draw = new Draw(2, "asked");
  const [caption, detail] = [askCaption(scene, draw), askDetail(scene, draw)];
  const fields = { mm_processor_kwargs: { combine_images: true } };
  return [
    await drawn("text, two rounds, first a goodbye", 1),
    await drawn("separate pictures, two rounds, described", 1),
    conversation("three pictures, combined", { media, rounds: [caption], fields }),
    conversation("three pictures, combined, two rounds", { media, rounds: [caption, detail], fields }),
    await drawn("video, two rounds, then its colour", 2),
  ];
}

/** The right answers before the last one are its history. */
function conversation(name: string, { media, rounds, fields }: Case): Mode {
  const messages = rounds.flatMap(({ question, answer }, i) => {
    const content = i === 0 && media.length > 0 ? [...media, text(question)] : question;
    return [said("user", content), said("assistant", answer)];
  });
  return { name, messages: messages.slice(0, -1), answer: rounds.at(-1)!.answer, extra: { ...fields } };
}

/** In a square of that side, by nearest pixels. */
function squeezed({ width, height, rgb }: Pixels, side: number): Pixels {
  const small = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const from = (Math.floor((y + 0.5) * height / side) * width + Math.floor((x + 0.5) * width / side)) * 3;
      small.set(rgb.subarray(from, from + 3), (y * side + x) * 3);
    }
  }
  return { width: side, height: side, rgb: small };
}

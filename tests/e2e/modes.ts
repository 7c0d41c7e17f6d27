/** Every mode of the vendor's quick start as requests, with what the embedded model must answer. */
import { ensureFfmpeg } from "@tessera/infra/ffmpeg";
import { run } from "@tessera/infra/process";

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

/** Owns frames of a file: the wanted ones, decoded in presentation order, as BMP files; and the count of those that decode. */
import type { VideoContainer } from "@tessera/shared";
import type { ChromaPosition } from "./chroma.ts";
import type { Ffmpeg, FfmpegProcess } from "./ffmpeg.ts";

export interface DecodeOptions {
  readonly path: string;
  readonly container: VideoContainer;
  /** Distinct and ascending. */
  readonly indices: readonly number[];
  /** Clockwise turn in degrees. */
  readonly rotation: number;
  readonly chroma: ChromaPosition;
}

/** Bytes of a BMP file before its pixels tell its length. */
const HEADER_BYTES = 6;

/** Filters that turn clockwise by so many degrees. */
const TURNS: Readonly<Record<number, readonly string[]>> = {
  90: ["transpose=clock"],
  180: ["hflip", "vflip"],
  270: ["transpose=cclock"],
};

/**
 * Starts decoding; the process writes only as fast as its output is read. Colours are converted as PyAV's `rgb24` is: by
 * swscale with its bilinear flags, from where the file has its colour samples. The turn comes behind that, so that it moves pixels and changes none.
 */
export function startDecoding(ffmpeg: Ffmpeg, options: DecodeOptions): FfmpegProcess {
  const wanted = options.indices.map((index) => `eq(n\\,${index})`).join("+");
  const { h, v } = options.chroma;
  const from = (name: string, position: number | null) => position === null ? [] : [`${name}=${position}`];
  const filters = [
    `select=${wanted}`,
    ["scale=flags=bilinear", ...from("in_h_chr_pos", h), ...from("in_v_chr_pos", v)].join(":"),
    "format=rgb24",
    ...TURNS[options.rotation] ?? [],
    "format=bgr24",
  ].join(",");
  const input = ["-noautorotate", "-f", options.container, "-i", options.path, "-map", "0:V:0"];
  // Every frame as it is, none repeated or left out to keep a rate; and no more after the last.
  const output = ["-vf", filters, "-fps_mode", "passthrough", "-frames:v", String(options.indices.length)];
  return ffmpeg.start([...input, ...output, "-f", "image2pipe", "-c:v", "bmp", "-"], { logLevel: "error" });
}

/** How many frames of a damaged file can be decoded. */
export async function countDecodable(ffmpeg: Ffmpeg, path: string, container: VideoContainer): Promise<number> {
  let numFrames = 0;
  const args = ["-f", container, "-i", path, "-map", "0:V:0", "-fps_mode", "passthrough", "-f", "null", "-"];
  const process = ffmpeg.start(args, {
    logLevel: "verbose",
    onLog: (line) => {
      const told = /(\d+) frames decoded/.exec(line);
      if (told !== null) numFrames = Math.max(numFrames, Number(told[1]));
    },
  });
  void process.stdout.cancel();
  await process.ended;
  return numFrames;
}

/** Cuts a stream of BMP files where each says it ends; a last one that is cut short is left out. */
export async function* bmpFiles(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const head = new Uint8Array(HEADER_BYTES);
  let numHead = 0;
  let file: Uint8Array<ArrayBuffer> | null = null;
  let numFile = 0;
  for await (let piece of stream) {
    while (piece.length > 0) {
      if (file === null) {
        const part = piece.subarray(0, HEADER_BYTES - numHead);
        head.set(part, numHead);
        numHead += part.length;
        piece = piece.subarray(part.length);
        if (numHead < HEADER_BYTES) continue;
        file = new Uint8Array(new DataView(head.buffer).getUint32(2, true));
        file.set(head);
        numFile = HEADER_BYTES;
      }
      const part = piece.subarray(0, file.length - numFile);
      file.set(part, numFile);
      numFile += part.length;
      piece = piece.subarray(part.length);
      if (numFile < file.length) continue;
      yield file;
      [file, numHead] = [null, 0];
    }
  }
}

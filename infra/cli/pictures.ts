/** Pictures and videos named on the command line: files become data: URLs, web addresses are passed on as they are. */
import { ApiError, type ContentPart } from "./client.ts";

const TYPES: Record<string, string> = {
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  png: "image/png",
  webp: "image/webp",
  gif: "image/gif",
  bmp: "image/bmp",
  mp4: "video/mp4",
  mov: "video/quicktime",
  webm: "video/webm",
  mkv: "video/x-matroska",
};

/** The message part for a picture. @throws ApiError when the file cannot be read */
export async function picturePart(source: string): Promise<ContentPart> {
  return { type: "image_url", image_url: { url: await urlOf(source) } };
}

/** The same for a video. @param numSegments frames to look at; the server's own number when absent */
export async function videoPart(source: string, numSegments?: number): Promise<ContentPart> {
  const segments = numSegments === undefined ? {} : { num_segments: numSegments };
  return { type: "video_url", video_url: { url: await urlOf(source), ...segments } };
}

/** The URL of a picture or video as a request names it. @throws ApiError when the file cannot be read */
export async function urlOf(source: string): Promise<string> {
  return /^(https?|data):/.test(source) ? source : await dataUrl(source);
}

async function dataUrl(path: string): Promise<string> {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await Deno.readFile(path);
  } catch (cause) {
    const reason = cause instanceof Deno.errors.NotFound ? "no such file" : "it cannot be read";
    throw new ApiError(`Cannot open ${path}: ${reason}.`, { cause });
  }
  const extension = path.slice(path.lastIndexOf(".") + 1).toLowerCase();
  return `data:${TYPES[extension] ?? "application/octet-stream"};base64,${bytes.toBase64()}`;
}

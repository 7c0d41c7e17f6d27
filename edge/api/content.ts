/** Contents of messages as a worker lays them out: texts, places of pictures and frames, pictures under one placeholder. */
import type { JobMessage, JobPart } from "@tessera/shared";
import { pictureSource } from "./pictures.ts";
import type { ChatMessage, ContentPart } from "./schema.ts";
import { type MediaSource, numImages, videoSource } from "./videos.ts";

/** What the messages of a request say. */
export interface Content {
  readonly messages: JobMessage[];
  /** In the order of their places. Job parts refer to pictures by index, each frame of a video being one. */
  readonly media: MediaSource[];
}

/** Name of the group of pictures that name none themselves, where a request combines them all. */
const ALL = Symbol("all pictures of a message");
type Group = string | number | typeof ALL;

/** @param combineImages whether each message's pictures stand under one placeholder, as `combine_images` asks */
export function jobContent(messages: readonly ChatMessage[], combineImages: boolean): Content {
  const media = new MediaList();
  const laidOut = messages.map((message, index): JobMessage => {
    const role = message.role === "developer" ? "system" : message.role;
    const content = message.content ?? "";
    if (typeof content === "string") return { role, parts: content === "" ? [] : [textPart(content)] };
    const parts = new PartList(media, combineImages);
    content.forEach((part, i) => parts.add(part, `messages[${index}].content[${i}]`));
    return { role, parts: parts.parts };
  });
  return { messages: laidOut, media: media.sources };
}

/** All media of a request, with the index the next picture gets. */
class MediaList {
  readonly sources: MediaSource[] = [];
  #next = 0;

  /** Index of the source's picture, or of its first frame. */
  add(source: MediaSource): number {
    const first = this.#next;
    this.sources.push(source);
    this.#next += numImages(source);
    return first;
  }
}

/** The parts of one message. */
class PartList {
  readonly parts: JobPart[] = [];
  readonly #media: MediaList;
  readonly #combineImages: boolean;
  /** The pictures of each group so far, as they stand in `parts`. */
  readonly #groups = new Map<Group, number[]>();

  constructor(media: MediaList, combineImages: boolean) {
    this.#media = media;
    this.#combineImages = combineImages;
  }

  add(part: ContentPart, param: string): void {
    if (part.type === "text") {
      this.parts.push(textPart(part.text));
    } else if (part.type === "image_url") {
      const image = this.#media.add(pictureSource(part.image_url, param, `${param}.image_url`));
      this.#addImage(image, part.image_url.group ?? (this.#combineImages ? ALL : null));
    } else if (part.type === "file") {
      const image = this.#media.add(pictureSource({ url: part.file.file_id }, param, `${param}.file`));
      this.#addImage(image, this.#combineImages ? ALL : null);
    } else {
      const source = videoSource(part.video_url, param, `${param}.video_url`);
      this.#addFrames(this.#media.add(source), source.video.numSegments);
    }
  }

  #addImage(image: number, group: Group | null): void {
    if (group === null) {
      this.parts.push({ type: "image", image });
      return;
    }
    const together = this.#groups.get(group);
    if (together !== undefined) {
      together.push(image);
      return;
    }
    const images = [image];
    this.#groups.set(group, images);
    // The group stands where its first picture does.
    this.parts.push({ type: "images", images });
  }

  /** As the vendor's quick start writes a video: "Frame1: <image>\nFrame2: <image>\n...". */
  #addFrames(first: number, numFrames: number): void {
    for (let i = 0; i < numFrames; i++) {
      this.parts.push(textPart(`Frame${i + 1}: `), { type: "image", image: first + i });
    }
  }
}

/** Half a surrogate pair has no UTF-8; it becomes the replacement character here rather than somewhere later. */
function textPart(text: string): JobPart {
  return { type: "text", text: text.toWellFormed() };
}

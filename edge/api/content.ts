/** Contents of messages as a worker lays them out: texts, places of pictures, several pictures under one placeholder. */
import type { JobMessage, JobPart } from "@tessera/shared";
import { type PictureSource, pictureSource } from "./pictures.ts";
import type { ChatMessage } from "./schema.ts";

/** What the messages of a request say. */
export interface Content {
  readonly messages: JobMessage[];
  /** In the order of their places; job parts refer to them by index. */
  readonly pictures: PictureSource[];
}

/** Name of the group of pictures that name none themselves, where a request combines them all. */
const ALL = Symbol("all pictures of a message");
type Group = string | number | typeof ALL;

/** @param combineImages whether each message's pictures stand under one placeholder, as `combine_images` asks */
export function jobContent(messages: readonly ChatMessage[], combineImages: boolean): Content {
  const pictures: PictureSource[] = [];
  const laidOut = messages.map((message, index): JobMessage => {
    const role = message.role === "developer" ? "system" : message.role;
    const content = message.content ?? "";
    if (typeof content === "string") return { role, parts: content === "" ? [] : [textPart(content)] };
    const parts: JobPart[] = [];
    /** The pictures of each group so far, as they stand in `parts`. */
    const groups = new Map<Group, number[]>();
    for (const [i, part] of content.entries()) {
      if (part.type === "text") {
        parts.push(textPart(part.text));
        continue;
      }
      const param = `messages[${index}].content[${i}]`;
      const image = pictures.push(pictureSource(part.image_url, param, `${param}.image_url`)) - 1;
      const group = part.image_url.group ?? (combineImages ? ALL : null);
      if (group === null) {
        parts.push({ type: "image", image });
        continue;
      }
      const together = groups.get(group);
      if (together !== undefined) {
        together.push(image);
        continue;
      }
      const images = [image];
      groups.set(group, images);
      // The group stands where its first picture does.
      parts.push({ type: "images", images });
    }
    return { role, parts };
  });
  return { messages: laidOut, pictures };
}

/** Half a surrogate pair has no UTF-8; it becomes the replacement character here rather than somewhere later. */
function textPart(text: string): JobPart {
  return { type: "text", text: text.toWellFormed() };
}

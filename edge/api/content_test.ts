/** Contents become job parts: pictures at their places, or together where the first of their group stands. */
import assert from "node:assert/strict";
import { parseChatRequest } from "./chat_request.ts";

const text = (value: string) => ({ type: "text", text: value });
const image = (url: string, group?: string | number | null) => ({ type: "image_url", image_url: { url, group } });

/** Parts of every message, texts as they are and pictures as the URLs they stand for. */
function laidOut(contents: unknown[], kwargs?: Record<string, unknown>) {
  const messages = contents.map((content) => ({ role: "user", content }));
  const { messages: parsed, pictures } = parseChatRequest({ model: "m", messages, mm_processor_kwargs: kwargs });
  const url = (index: number) => pictures[index]!.url;
  return parsed.map(({ parts }) =>
    parts.map((part) =>
      part.type === "text" ? part.text : part.type === "image" ? url(part.image) : part.images.map(url)
    )
  );
}

Deno.test("content: separate pictures stand at their places between texts", () => {
  const content = [text("Image-1: "), image("a"), text("Image-2: "), image("b"), text("Describe both.")];
  assert.deepEqual(laidOut([content]), [["Image-1: ", "a", "Image-2: ", "b", "Describe both."]]);
  assert.deepEqual(laidOut([[text("x"), image("a")], "y", [image("b")]]), [["x", "a"], ["y"], ["b"]]);
});

Deno.test("content: combine_images puts each message's pictures under one placeholder, at the first one's place", () => {
  const combine_images = true;
  const content = [text("x"), image("a"), text("y"), image("b"), image("c")];
  assert.deepEqual(laidOut([content], { combine_images }), [["x", ["a", "b", "c"], "y"]]);
  assert.deepEqual(laidOut([[image("a"), image("b")], "z", [image("c"), image("d")]], { combine_images }), [
    [["a", "b"]],
    ["z"],
    [["c", "d"]],
  ]);
  assert.deepEqual(laidOut([content], { combine_images: false }), [["x", "a", "y", "b", "c"]]);
});

Deno.test("content: groups are per message and name; pictures without one stand alone", () => {
  const content = [image("a", "left"), image("b"), image("c", 1), image("d", "left"), image("e", 1), image("f", null)];
  assert.deepEqual(laidOut([content, [image("g", "left")]]), [[["a", "d"], "b", ["c", "e"], "f"], [["g"]]]);
  assert.deepEqual(laidOut([content], { combine_images: true }), [[["a", "d"], ["b", "f"], ["c", "e"]]]);
  assert.throws(() => laidOut([[image("a", "")]]), { code: "invalid_request" });
});

/** Contents become job parts: pictures at their places, or together where the first of their group stands. */
import assert from "node:assert/strict";
import { parseChatRequest } from "./chat_request.ts";
import { isVideo } from "./videos.ts";

const text = (value: string) => ({ type: "text", text: value });
const image = (url: string, group?: string | number | null) => ({ type: "image_url", image_url: { url, group } });

/** Parts of every message, texts as they are and pictures as the URLs they stand for. */
function laidOut(contents: unknown[], kwargs?: Record<string, unknown>) {
  const messages = contents.map((content) => ({ role: "user", content }));
  const { messages: parsed, media } = parseChatRequest({ model: "m", messages, mm_processor_kwargs: kwargs });
  const images = media.flatMap((source) =>
    isVideo(source) ? Array.from({ length: source.video.numSegments }, (_, i) => `${source.url}#${i}`) : [source.url]
  );
  const url = (index: number) => images[index]!;
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

Deno.test("content: a video is its frames, each behind its name, as the vendor's quick start writes them", () => {
  const video = (url: string, fields = {}) => ({ type: "video_url", video_url: { url, ...fields } });
  const content = [image("a"), video("v", { num_segments: 2 }), text("What happens?"), image("b")];
  assert.deepEqual(laidOut([content, [video("w", { num_segments: 1, start: 1.5, end: 2 })]]), [
    ["a", "Frame1: ", "v#0", "Frame2: ", "v#1", "What happens?", "b"],
    ["Frame1: ", "w#0"],
  ]);
  assert.equal(laidOut([[video("v")]])[0]!.length, 16);
  // Frames are not pictures that could be combined.
  assert.deepEqual(laidOut([content], { combine_images: true })[0]![0], ["a", "b"]);
  const refused = (fields: Record<string, unknown>, param: string) =>
    assert.throws(() => laidOut([[text("x"), video("v", fields)]]), {
      code: "invalid_request",
      param: `messages[0].content[1].video_url.${param}`,
    });
  refused({ num_segments: 0 }, "num_segments");
  refused({ num_segments: 65 }, "num_segments");
  refused({ start: -1 }, "start");
  refused({ start: 2, end: 2 }, "end");
  refused({ end: 0 }, "end");
  const many = video("v", { num_segments: 64 });
  assert.throws(() => laidOut([[many, many, many]]), { code: "too_many_images", param: "messages[0].content[2]" });
});

/** Requests that must be refused, each with its status, code and place. */
import type { ErrorCode } from "@tessera/shared";
import { badPicture, dataUrl, fakePicture } from "./fake_tile_pool.ts";
import { about } from "./harness.ts";

const user = { role: "user", content: "Hello" };
const part = (value: unknown) => ({
  messages: [user, { role: "user", content: [{ type: "text", text: "x" }, value] }],
});
const picture = (url: unknown, detail?: string) => part({ type: "image_url", image_url: { url, detail } });
const AT = "messages[1].content[1]";

/** Laid over a good request; what must come of it. `param` is where in the request. */
export type BadRequest = readonly [
  name: string,
  body: Record<string, unknown>,
  status: number,
  code: ErrorCode,
  param: string | null,
];

export const BAD_REQUESTS: readonly BadRequest[] = [
  ["no model", { model: undefined }, 400, "invalid_request", "model"],
  ["no messages", { messages: undefined }, 400, "invalid_request", "messages"],
  ["empty messages", { messages: [] }, 400, "invalid_request", "messages"],
  ["messages no list", { messages: "hi" }, 400, "invalid_request", "messages"],
  ["unknown role", { messages: [{ role: "wizard", content: "x" }] }, 400, "invalid_request", "messages[0].role"],
  ["tool role", { messages: [{ role: "tool", content: "x" }] }, 400, "invalid_request", "messages[0].role"],
  ["content of no type", { messages: [{ role: "user", content: 5 }] }, 400, "invalid_request", "messages[0].content"],
  ["content missing", { messages: [{ role: "user" }] }, 400, "invalid_request", "messages[0].content"],
  ["part of unknown type", part({ type: "input_audio", input_audio: {} }), 400, "invalid_request", `${AT}.type`],
  ["text part without text", part({ type: "text" }), 400, "invalid_request", `${AT}.text`],
  ["picture without URL", picture(undefined), 400, "invalid_request", `${AT}.image_url.url`],
  ["unknown detail", picture(fakePicture(1, 1), "huge"), 400, "invalid_request", `${AT}.image_url.detail`],
  [
    "more tiles for a picture than the model takes",
    part({ type: "image_url", image_url: { url: fakePicture(1, 1), max_dynamic_patch: 13 } }),
    400,
    "invalid_request",
    `${AT}.image_url.max_dynamic_patch`,
  ],
  [
    "several tiles in low detail",
    part({ type: "image_url", image_url: { url: fakePicture(1, 1), detail: "low", min_dynamic_patch: 2 } }),
    400,
    "invalid_request",
    `${AT}.image_url.min_dynamic_patch`,
  ],
  [
    "no tiles for a picture",
    part({ type: "image_url", image_url: { url: fakePicture(1, 1), max_dynamic_patch: 0 } }),
    400,
    "invalid_request",
    `${AT}.image_url.max_dynamic_patch`,
  ],
  [
    "picture of the assistant",
    { messages: [{ role: "assistant", content: [{ type: "image_url", image_url: { url: fakePicture(1, 1) } }] }] },
    400,
    "invalid_request",
    "messages[0].content[0].type",
  ],
  ["temperature", { temperature: 2.5 }, 400, "invalid_request", "temperature"],
  ["top_p", { top_p: "much" }, 400, "invalid_request", "top_p"],
  ["max_tokens", { max_tokens: 0 }, 400, "invalid_request", "max_tokens"],
  ["empty stop", { stop: [""] }, 400, "invalid_request", "stop[0]"],
  ["stream", { stream: "yes" }, 400, "invalid_request", "stream"],
  ["n", { n: 2 }, 400, "unsupported_parameter", "n"],
  ["tools", { tools: [{}] }, 400, "unsupported_parameter", "tools"],
  ["logprobs", { logprobs: true }, 400, "unsupported_parameter", "logprobs"],
  ["logit_bias", { logit_bias: { 1: 2 } }, 400, "unsupported_parameter", "logit_bias"],
  ["json mode", { response_format: { type: "json_object" } }, 400, "unsupported_parameter", "response_format"],
  [
    "tool_calls",
    { messages: [user, { role: "assistant", content: null, tool_calls: [{}] }] },
    400,
    "unsupported_parameter",
    "messages[1].tool_calls",
  ],
  [
    "unknown tiling option",
    { mm_processor_kwargs: { num_crops: 4 } },
    400,
    "unsupported_parameter",
    "mm_processor_kwargs.num_crops",
  ],
  [
    "too many tiles wished",
    { mm_processor_kwargs: { max_dynamic_patch: 13 } },
    400,
    "invalid_request",
    "mm_processor_kwargs.max_dynamic_patch",
  ],
  [
    "more tiles at least than at most",
    { mm_processor_kwargs: { min_dynamic_patch: 5, max_dynamic_patch: 4 } },
    400,
    "invalid_request",
    "mm_processor_kwargs.min_dynamic_patch",
  ],
  ["unknown model", { model: "gpt-5" }, 404, "model_not_found", "model"],
  ["no URL at all", picture("picture.png"), 400, "image_url_invalid", AT],
  ["file URL", picture("file:///etc/passwd"), 400, "image_url_invalid", AT],
  ["plain http", picture("http://example.com/a.png"), 400, "image_url_invalid", AT],
  ["credentials", picture("https://a:b@example.com/a.png"), 400, "image_url_invalid", AT],
  ["not base64", picture("data:image/png;base64,%%%"), 400, "image_url_invalid", AT],
  ["no base64", picture("data:text/plain,hello"), 400, "image_url_invalid", AT],
  ["private address", picture("https://10.0.0.1/a.png"), 400, "image_url_forbidden", AT],
  ["loopback by name", picture("https://localhost/a.png"), 400, "image_url_forbidden", AT],
  ["a text for a picture", picture(dataUrl(new TextEncoder().encode("hi"))), 400, "image_unsupported_format", AT],
  ["cut short", picture(badPicture("truncated")), 400, "image_corrupt", AT],
  ["damaged", picture(badPicture("corrupt")), 400, "image_corrupt", AT],
  ["decoder gives up", picture(badPicture("decoder_failed")), 400, "image_corrupt", AT],
  ["too many pixels", picture(badPicture("too_many_pixels")), 400, "image_too_large", AT],
  ["too much memory", picture(badPicture("too_much_memory")), 400, "image_too_large", AT],
  ["too slow", picture(badPicture("timeout")), 400, "image_too_large", AT],
  ["tile workers busy", picture(badPicture("busy")), 429, "rate_limited", AT],
  ["no memory", picture(badPicture("out_of_memory")), 429, "rate_limited", AT],
  [
    "65 pictures",
    { messages: [user, about(new Array(65).fill(fakePicture(1, 1)))] },
    400,
    "too_many_images",
    "messages[1].content[64]",
  ],
  [
    "too many tiles together",
    { messages: [about(new Array(30).fill(fakePicture(3, 3)))] },
    400,
    "too_many_images",
    "messages[0].content[25]",
  ],
  [
    "pictures beyond the context",
    { messages: [about(new Array(25).fill(fakePicture(3, 3)))] },
    400,
    "context_length_exceeded",
    "messages",
  ],
  [
    "too much text",
    { messages: [{ role: "user", content: "x".repeat(1_000_001) }] },
    413,
    "request_too_large",
    "messages",
  ],
  [
    "text beyond the bus",
    { messages: [{ role: "user", content: "\u0001".repeat(300_000) }] },
    413,
    "request_too_large",
    null,
  ],
];

/** Fields that would change the answer and that this server does not honour: refused unless they ask for nothing. */
import { TesseraError } from "@tessera/shared";

const isOff = (value: unknown) => value === false;
const isZero = (value: unknown) => value === 0;
const isOne = (value: unknown) => value === 1;
const isEmpty = (value: unknown) => typeof value === "object" && Object.keys(value as object).length === 0;
const isText = (value: unknown) => (value as { type?: unknown }).type === "text";
const isNever = () => false;

/** Per field: whether a value (not null) leaves the answer as it is. */
const NEUTRAL: Record<string, (value: unknown) => boolean> = {
  best_of: isOne,
  prompt_logprobs: isZero,
  length_penalty: isOne,
  use_beam_search: isOff,
  bad_words: isEmpty,
  echo: isOff,
  continue_final_message: isOff,
  add_generation_prompt: (value) => value === true,
  tools: isEmpty,
  tool_choice: (value) => value === "none" || value === "auto",
  functions: isEmpty,
  function_call: (value) => value === "none" || value === "auto",
  response_format: isText,
  modalities: (value) => Array.isArray(value) && value.length === 1 && value[0] === "text",
  audio: isNever,
  prediction: isNever,
  web_search_options: isNever,
  structured_outputs: isEmpty,
  guided_json: isNever,
  guided_regex: isNever,
  guided_choice: isNever,
  guided_grammar: isNever,
  chat_template: isNever,
  documents: isEmpty,
};

/** The same for one message; `refusal`, `name` and the like are ignored. */
const NEUTRAL_IN_MESSAGE: Record<string, (value: unknown) => boolean> = {
  tool_calls: isEmpty,
  function_call: isNever,
  audio: isNever,
};

/** @throws TesseraError `unsupported_parameter` naming the first such field */
export function refuseUnsupported(body: Record<string, unknown>): void {
  check(body, NEUTRAL, "");
  const messages = body["messages"];
  if (!Array.isArray(messages)) return;
  messages.forEach((message: unknown, i) => {
    if (typeof message === "object" && message !== null) {
      check(message as Record<string, unknown>, NEUTRAL_IN_MESSAGE, `messages[${i}].`);
    }
  });
}

function check(fields: Record<string, unknown>, neutral: typeof NEUTRAL, prefix: string): void {
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined || !Object.hasOwn(neutral, name) || neutral[name]!(value)) continue;
    const param = `${prefix}${name}`;
    throw new TesseraError("unsupported_parameter", {
      message: `This server does not support ${param} with this value. Leave it out.`,
      param,
    });
  }
}

/** What the fields of requests mean, in a sentence each, for the document; a test finds notes of fields that are gone. */

/** By name of the body and path of the field. */
export const NOTES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  ChatCompletionRequest: {
    "model": "As listed by GET /v1/models.",
    "messages": "Roles system, developer (the same), user and assistant; content as text or as parts.",
    "temperature":
      "0 is greedy. Without it the answer is as the checkpoint's generation_config.json says, mostly greedy.",
    "top_p": "Used when the temperature is above 0.",
    "top_k": "0 and -1 are off.",
    "min_p": "Tokens less likely than this share of the likeliest are left out.",
    "repetition_penalty": "Above 1 what stands in prompt and answer becomes less likely, as in transformers.",
    "presence_penalty": "Taken off tokens that are in the answer already.",
    "frequency_penalty": "Taken off tokens for each time they are in the answer.",
    "logit_bias": "Added to the logits of tokens, by id.",
    "min_tokens": "The answer does not end before.",
    "stop_token_ids": "The answer ends before any of these ids.",
    "ignore_eos": "The answer goes on until it is long enough.",
    "logprobs": "Log-probabilities of the answer's tokens.",
    "top_logprobs": "And of so many others at each place.",
    "service_tier": "OpenAI's tiers as priorities: flex later, priority sooner.",
    "cache_salt": "Prefixes are shared only among requests with the same one.",
    "seed": "The same seed draws the same answer; without one it is drawn.",
    "max_completion_tokens":
      "Longest answer; without it the context is the limit. Before max_tokens, that before max_new_tokens.",
    "max_tokens": "OpenAI's older name of max_completion_tokens.",
    "max_new_tokens": "transformers' name of max_completion_tokens.",
    "do_sample": "As in transformers: false is greedy whatever the temperature.",
    "num_beams": "1 is all there is.",
    "stop": "The answer ends before any of these.",
    "n": "Answers to the same prompt.",
    "stream": "Answer as server-sent events.",
    "stream_options": "include_usage: a last chunk with usage.",
    "priority": "Smaller goes first.",
    "deadline_ms": "Longest time until the end of the answer.",
    "mm_processor_kwargs": "How all pictures are cut into tiles.",
  },
  InspectRequest: {
    "model": "Not needed where there is one only.",
    "images": "Several pictures; errors of single ones stand in their places.",
    "mm_processor_kwargs": "How all pictures would be cut into tiles.",
  },
  TokenizeRequest: {
    "model": "Not needed where there is one only.",
    "prompt": "A text by itself, with nothing around it.",
    "messages":
      "As for a completion: the count is the whole prompt's, template and pictures included; nothing is decoded.",
    "return_tokens": "false: the count alone.",
    "return_token_strs": "true: the text of each token too.",
    "mm_processor_kwargs": "How all pictures would be cut into tiles.",
  },
};

# Owns transformers' side of `deno task bench engine`: a scenario per line comes in, its figures go out.
import json
import os
import sys
import time

import torch
import transformers
from transformers import DynamicCache, InternVLForConditionalGeneration

folder, threads, device = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.set_default_device(device)
torch.set_num_threads(threads)
torch.manual_seed(0)
model = InternVLForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()
text = model.config.text_config


def cache_of(batch, length):
    """Filled with noise: what it holds does not change how long a step takes."""
    cache = DynamicCache(config=text)
    shape = (batch, text.num_key_value_heads, length, text.hidden_size // text.num_attention_heads)
    for layer in range(text.num_hidden_layers):
        cache.update(torch.randn(shape, dtype=torch.bfloat16), torch.randn(shape, dtype=torch.bfloat16), layer)
    return cache


def forward(ids, cache):
    return model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1].argmax(-1, keepdim=True)


def wait():
    if device != "cpu":
        torch.cuda.synchronize()


def timed(work):
    wait()
    start = time.perf_counter()
    result = work()
    wait()
    return time.perf_counter() - start, result


def measure(scenario):
    if scenario["kind"] == "vision":
        height, width = model.config.vision_config.image_size
        pixels = torch.randn(scenario.get("tiles", 1), 3, height, width, dtype=torch.bfloat16)
        seconds, _ = timed(lambda: model.model.get_image_features(pixel_values=pixels))
        return {"visionMs": seconds * 1000}
    context, batch, steps = scenario["context"], scenario["batch"], scenario["steps"]
    figures = {}
    if batch == 1 and scenario["prefill"]:
        cache = DynamicCache(config=text)
        ids = torch.randint(0, text.vocab_size, (1, context))
        seconds, ids = timed(lambda: forward(ids, cache))
        figures["prefill"] = context / seconds
    else:
        cache = cache_of(batch, context)
        ids = torch.randint(0, text.vocab_size, (batch, 1))
    if steps > 0:
        ids = forward(ids, cache)
        wait()
        start = time.perf_counter()
        for _ in range(steps):
            ids = forward(ids, cache)
        wait()
        figures["decode"] = batch * steps / (time.perf_counter() - start)
    return figures


with torch.inference_mode():
    print(json.dumps({"torch": torch.__version__, "version": transformers.__version__, "pid": os.getpid()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line))), flush=True)

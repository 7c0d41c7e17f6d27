# Owns oneDNN's side of `deno task bench gemm`: products through the oneDNN that torch carries, weights packed beforehand.
# A line of JSON {"m", "n", "k", "copies"} comes in; oneDNN itself prints a line for each product, with its own time of
# nothing but the product; then a line "done" follows. `copies` weights are used in turn.
import json
import os
import sys

import torch

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
prepared = {}


def prepare(m, n, k, copies):
    key = (m, n, k)
    if key not in prepared:
        prepared.clear()
        weight = torch.randn(n, k).to(torch.bfloat16)
        packed = [torch.ops.mkldnn._reorder_linear_weight(weight, m) for _ in range(copies)]
        prepared[key] = torch.randn(m, k).to(torch.bfloat16), packed
    return prepared[key]


def say(text):
    os.write(1, f"{text}\n".encode())


with torch.inference_mode():
    say(json.dumps({"torch": torch.__version__}))
    for line in sys.stdin:
        x, weights = prepare(**json.loads(line))
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            for weight in weights:
                torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
        sys.stdout.flush()
        say("done")

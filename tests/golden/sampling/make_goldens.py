"""Distributions after transformers' own logits processors, for the order and meaning of sampling fields.

python make_goldens.py > goldens.json   (transformers and torch as in ../engine)
"""
import json
import sys

import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

VOCAB = 24
CASES = [
    {"temperature": 0.7},
    {"temperature": 1.3, "topK": 5},
    {"temperature": 1.0, "topP": 0.8},
    {"temperature": 1.0, "minP": 0.2},
    {"temperature": 1.5, "topK": 12, "topP": 0.9, "minP": 0.1},
    {"temperature": 1.0, "repetitionPenalty": 1.8},
    {"temperature": 1.0, "repetitionPenalty": 0.6},
    {"temperature": 1.0, "biases": [[2, 3.5], [5, -4.0], [7, "-Infinity"]]},
    {"temperature": 0.9, "repetitionPenalty": 1.4, "biases": [[3, 2.0], [4, 1.0]], "topK": 8, "topP": 0.95, "minP": 0.05},
    {"temperature": 1.0, "forbidden": [1, 9]},
]


def processors(case: dict, prompt: list[int]) -> LogitsProcessorList:
    chain = LogitsProcessorList()
    if "biases" in case:
        chain.append(SequenceBiasLogitsProcessor({(i,): float(b.replace("Infinity", "inf")) if isinstance(b, str) else b
                                                  for i, b in case["biases"]}))
    if "forbidden" in case:
        chain.append(MinNewTokensLengthLogitsProcessor(len(prompt), 100, case["forbidden"]))
    if "repetitionPenalty" in case:
        chain.append(RepetitionPenaltyLogitsProcessor(case["repetitionPenalty"]))
    chain.append(TemperatureLogitsWarper(case["temperature"]))
    if "topK" in case:
        chain.append(TopKLogitsWarper(case["topK"]))
    if "topP" in case:
        chain.append(TopPLogitsWarper(case["topP"]))
    if "minP" in case:
        chain.append(MinPLogitsWarper(case["minP"]))
    return chain


def main() -> None:
    generator = torch.Generator().manual_seed(5)
    out = []
    for case in CASES:
        logits = (torch.randn(VOCAB, generator=generator) * 2).round(decimals=3)
        prompt, answer = [1, 2, 2, 6], [3, 3, 8]
        ids = torch.tensor([prompt + answer])
        scores = processors(case, prompt)(ids, logits[None].clone())
        probabilities = torch.softmax(scores.double(), -1)[0]
        out.append({"sampling": case, "prompt": prompt, "answer": answer,
                    "logits": [round(x, 3) for x in logits.tolist()],
                    "probabilities": [float(f"{p:.7g}") for p in probabilities.tolist()]})
    json.dump(out, sys.stdout)
    print()


main()

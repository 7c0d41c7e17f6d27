"""Exactness on held-out samples without generating: one forward pass tells what greedy decoding says.

As a program it measures a checkpoint folder or a saved training state.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed as distributed

from checkpoint import load_checkpoint
from data import Batch, SampleMaker, collate
from export import load_model
from model import InternVLTiny
from prompt import PromptWriter

EVALUATION_SEED = 20_260_101
EVALUATION_COUNTS = {
    "one_tile": 72, "two_tiles": 72, "three_tiles": 40, "words": 120, "compare": 100, "motion": 80, "chat": 40,
}  # fmt: skip
BATCH = 20


def evaluation_samples(
    maker: SampleMaker,
    rank: int = 0,
    world: int = 1,
    counts: Mapping[str, int] = EVALUATION_COUNTS,
    seed: int = EVALUATION_SEED,
) -> list[tuple[str, Batch]]:
    """This process's share of a fixed set of samples, in batches of one kind."""
    batches = []
    for kind, count in counts.items():
        rng = random.Random(f"{seed}-{kind}-{rank}")
        samples = [maker.make(kind, rng) for _ in range(count // world)]
        batches += [(kind, collate(samples[start : start + BATCH])) for start in range(0, len(samples), BATCH)]
    return batches


def exact_branches(model: InternVLTiny, batch: Batch) -> list[tuple[str, bool]]:
    """Per branch: its task, and whether every asked token is the most likely one."""
    visual = None
    if batch.tiles is not None:
        visual = model.project(model.vision_model(batch.tiles))
    hidden = model(visual, batch.ids, batch.positions, batch.mask(torch.bfloat16))
    asked = batch.targets >= 0
    wrong = torch.zeros_like(asked)
    wrong[asked] = model.logits(hidden[asked]).argmax(-1) != batch.targets[asked]
    return [
        (task, not bool(wrong[row][batch.segments[row] == number].any()))
        for row, tasks in enumerate(batch.tasks)
        for number, task in enumerate(tasks, 1)
    ]


@torch.no_grad()
def evaluate(model: InternVLTiny, batches: list[tuple[str, Batch]], world: int = 1) -> dict[str, float]:
    """Percent right per task, and per kind of picture for captions."""
    counts: dict[str, list[int]] = {}
    for kind, batch in batches:
        with torch.autocast("cpu", torch.bfloat16):
            results = exact_branches(model, batch)
        for task, good in results:
            for key in {task, f"caption {kind}"} if task == "caption" else {task}:
                entry = counts.setdefault(key, [0, 0])
                entry[0] += good
                entry[1] += 1
    if world > 1:
        gathered: list[dict[str, list[int]]] = [{}] * world
        distributed.all_gather_object(gathered, counts)
        counts = {}
        for part in gathered:
            for key, (good, total) in part.items():
                entry = counts.setdefault(key, [0, 0])
                entry[0] += good
                entry[1] += total
    return {key: round(100 * good / total, 1) for key, (good, total) in sorted(counts.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="a checkpoint folder, or a state saved by train.py")
    parser.add_argument("--count", type=int, default=500, help="scenes without words; the other kinds in proportion")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.source.is_dir():
        model, tokenizer, max_tiles = load_checkpoint(arguments.source)
    else:
        model, tokenizer, max_tiles = load_model(torch.load(arguments.source, map_location="cpu", weights_only=True))
    maker = SampleMaker(model.size, PromptWriter(tokenizer, model.size.tokens_per_tile), max_tiles, exact=True)
    shares = {"any": 1.0, "words": 0.5, "compare": 0.4, "motion": 0.4, "chat": 0.2}
    counts = {kind: round(arguments.count * share) for kind, share in shares.items()}
    table = evaluate(model, evaluation_samples(maker, counts=counts, seed=arguments.seed))
    for task, percent in table.items():
        print(f"{task:<24}{percent:>7.1f}")


if __name__ == "__main__":
    main()

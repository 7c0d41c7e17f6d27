"""Trains the model: first the vision tower on patches, then everything on questions and answers.

Two (or more) single-threaded processes train on their own samples and average their weights every few
seconds, so a core that is busy with something else slows only its own process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as distributed
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

import tokenizer as tokenizer_builder
from alignment import WordAlignment
from attention_guide import GUIDED_LAYER, AttentionGuide
from data import SampleMaker, collate
from model import InternVLTiny, ModelSize
from patch_head import TASK_WEIGHTS, PatchHead
from prompt import PromptWriter
from score import evaluate, evaluation_samples

AVERAGE_EVERY_SECONDS = 10.0
SMOOTHING = 0.9  # of the smoothed weights, per averaging
SAVE_EVERY_ROUNDS = 12
EVALUATE_EVERY_ROUNDS = 30
REPORT_EVERY_ROUNDS = 4
WARM_UP_STEPS = 100
MATRIX_RATE, OTHER_RATE = 5e-3, 1.5e-3
# What is trained on. A `mixture.json` of the same form in the folder of states takes its place; it is read again at
# every averaging, so that training can be steered while it runs. Kinds: [weight, batch size].
VISION_MIXTURE = {
    "kinds": {"dense_one_tile": [1, 32], "dense": [2, 13]},
    "task_weights": TASK_WEIGHTS,
    "rate": 1.0,
}
JOINT_MIXTURE = {
    "kinds": {
        "one_tile": [2.2, 30], "two_tiles": [2, 15], "three_tiles": [1.1, 11], "words_one_tile": [0.3, 30],
        "words_two_tiles": [0.6, 15], "compare_one_tile": [1, 20], "compare": [0.8, 9], "motion": [0.7, 12],
    },
    "task_weights": TASK_WEIGHTS,
    "patch_loss": 0.3,
    "alignment_loss": 1.0,
    "guide_loss": 0.3,
    "caption_share": 0.6,
    "short_questions": 5,
    "question_shares": [4, 2.5, 3.5, 0.6],
    "chat_rows": 1,
    "rate": 0.8,
}  # fmt: skip
EASY_SECONDS = 200.0  # of the vision stage: single tiles only, until shapes are told apart


class Trainer:
    def __init__(self, arguments: argparse.Namespace, rank: int, world: int) -> None:
        self.arguments, self.rank, self.world = arguments, rank, world
        self.folder: Path = arguments.folder
        start = time.time() if arguments.resume else 0  # a resumed run must not see the same samples again
        self.rng = random.Random(f"{arguments.seed}-{rank}-{start}")
        torch.manual_seed(arguments.seed)
        state = torch.load(arguments.resume, weights_only=True) if arguments.resume else None
        if state:
            tokenizer = Tokenizer.from_str(state["tokenizer"])
            size = ModelSize(**state["size"])
        else:
            tokenizer = tokenizer_builder.build()
            size = ModelSize(
                tokenizer_builder.vocabulary_size(tokenizer),
                tokenizer.token_to_id("<IMG_CONTEXT>"),
                **json.loads(arguments.size),
            )
        self.tokenizer, self.size = tokenizer, size
        self.max_tiles = state["max_tiles"] if state else arguments.max_tiles
        self.maker = SampleMaker(size, PromptWriter(tokenizer, size.tokens_per_tile), self.max_tiles)
        self.alignment = WordAlignment(tokenizer)
        self.guide = AttentionGuide(tokenizer, size.vocabulary, size.image_token)
        self.model, self.head = InternVLTiny(size), PatchHead(size.vision_hidden)
        self.guided = self.model.language_model.model.layers[GUIDED_LAYER].self_attn
        self.guided.keep_scores = True
        self.both = nn.ModuleDict({"model": self.model, "head": self.head})
        if state:
            self.model.load_state_dict(state["model"])
            self.head.load_state_dict(state["head"])
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        if state:
            self.average = state["average"]
        matrices = [p for n, p in self.model.named_parameters() if p.ndim == 2 and "embed" not in n]
        chosen = {id(p) for p in matrices}
        others = [p for p in self.both.parameters() if id(p) not in chosen]
        self.optimizers = [
            torch.optim.Muon(
                matrices, lr=MATRIX_RATE, momentum=0.95, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        ]
        same_stage = state is not None and state["stage"] == arguments.stage
        self.elapsed = state["elapsed"] if same_stage else 0.0
        if same_stage:
            for optimizer, saved in zip(self.optimizers, state["optimizers"]):
                optimizer.load_state_dict(saved)
        self.step, self.rounds = WARM_UP_STEPS if same_stage else 0, 0
        self.meters: dict[str, list[float]] = {}
        self.evaluation = evaluation_samples(
            SampleMaker(size, self.maker.writer, self.max_tiles, exact=True), rank, world
        )

    def mixture(self) -> dict:
        path = self.folder / "mixture.json"
        if path.exists():
            return json.loads(path.read_text())
        if self.arguments.stage == "joint":
            return JOINT_MIXTURE
        if self.elapsed < EASY_SECONDS:
            return VISION_MIXTURE | {"kinds": {"dense_one_tile": [1, 32]}}
        return VISION_MIXTURE

    def rate(self) -> float:
        """Warm-up, then a cosine over the planned minutes down to the floor."""
        share = min(1.0, self.elapsed / (self.arguments.minutes * 60))
        floor = self.arguments.floor
        cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))
        return min(1.0, (self.step + 1) / WARM_UP_STEPS) * cosine * self.mix.get("rate", 1.0)

    def measure(self, name: str, value: float, count: float = 1) -> None:
        meter = self.meters.setdefault(name, [0.0, 0.0])
        meter[0] += value
        meter[1] += count

    def patch_loss(self, features: Tensor, labels: Tensor) -> Tensor:
        loss, right = self.head(features, labels, self.mix["task_weights"])
        for field, (good, asked) in right.items():
            self.measure(f"patch {field}", good, asked)
        return loss

    def one_step(self) -> None:
        kinds = self.mix["kinds"]
        kind = self.rng.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        started = time.time()
        samples = [self.maker.make(kind, self.rng) for _ in range(kinds[kind][1])]
        vision_only = self.arguments.stage == "vision"
        if not vision_only:
            samples += [self.maker.make("chat", self.rng) for _ in range(self.mix["chat_rows"])]
        batch = collate(samples)
        self.measure("drawing share", time.time() - started, 0)
        with torch.autocast("cpu", torch.bfloat16):
            features = self.model.vision_model(batch.tiles)
            loss = self.patch_loss(features, batch.labels)
            if not vision_only:
                visual = self.model.project(features)
                embeddings = self.model.language_model.model.embed_tokens.weight
                aligned = self.alignment.loss(visual, batch.labels, embeddings)
                self.measure("alignment", aligned.item())
                hidden = self.model(visual, batch.ids, batch.positions, batch.mask(torch.bfloat16))
                guided = self.guide.loss(self.guided.scores, batch.ids, batch.labels)
                self.measure("guide", guided.item())
                asked = batch.targets >= 0
                targets = batch.targets[asked]
                logits = self.model.logits(hidden[asked]).float()
                losses = F.cross_entropy(logits, targets, reduction="none")
                language_loss = (losses * batch.weights).sum() / batch.weights.sum()
                self.measure(f"loss {kind}", language_loss.item())
                loss = language_loss + self.mix["patch_loss"] * loss
                loss = loss + self.mix["alignment_loss"] * aligned + self.mix["guide_loss"] * guided
        loss.backward()
        nn.utils.clip_grad_norm_(self.both.parameters(), 1.0)
        for optimizer, base in zip(self.optimizers, (MATRIX_RATE, OTHER_RATE)):
            for group in optimizer.param_groups:
                group["lr"] = base * self.rate()
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self.measure("steps", 1, 0)
        self.measure("pictures", len(samples), 0)
        self.measure("drawing share", 0, time.time() - started)

    def average_weights(self) -> None:
        """All processes' weights and momenta become their mean; then the smoothed weights follow."""
        tensors = [p.data for p in self.both.parameters()]
        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                tensors += [v for k, v in state.items() if torch.is_tensor(v) and v.ndim > 0 and k != "step"]
        if self.world > 1:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            distributed.all_reduce(flat)
            flat /= self.world
            for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
                tensor.copy_(part.view_as(tensor))
        weight = min(SMOOTHING, self.rounds / (self.rounds + 10))
        for name, value in self.model.state_dict().items():
            self.average[name].mul_(weight).add_(value, alpha=1 - weight)

    def save(self) -> None:
        state = {
            "stage": self.arguments.stage,
            "elapsed": self.elapsed,
            "size": asdict(self.size),
            "max_tiles": self.max_tiles,
            "tokenizer": self.tokenizer.to_str(),
            "model": self.model.state_dict(),
            "average": self.average,
            "head": self.head.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        path = self.folder / f"{self.arguments.stage}.pt"
        torch.save(state, path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)

    def log(self, text: str) -> None:
        if self.rank == 0:
            print(f"{time.strftime('%H:%M:%S')} {self.elapsed:5.0f}s {text}", flush=True)

    def report(self) -> None:
        parts = [
            f"{name} {total / count:.3f}" if count else f"{name} {total:.0f}"
            for name, (total, count) in sorted(self.meters.items())
        ]
        self.log(f"rate {self.rate():.3f} " + " | ".join(parts))
        self.meters.clear()

    def run(self) -> None:
        last = time.time()
        while self.elapsed < self.arguments.minutes * 60:
            self.mix = self.mixture()
            if self.arguments.stage == "joint":
                self.maker.caption_share = self.mix["caption_share"]
                self.maker.short_questions = self.mix["short_questions"]
                self.maker.question_shares = self.mix["question_shares"]
            deadline = time.time() + AVERAGE_EVERY_SECONDS
            while time.time() < deadline:
                self.one_step()
            self.average_weights()
            self.rounds += 1
            self.elapsed, last = self.elapsed + time.time() - last, time.time()
            if self.rounds % REPORT_EVERY_ROUNDS == 0:
                self.report()
            if self.rank == 0 and self.rounds % SAVE_EVERY_ROUNDS == 0:
                self.save()
            if self.arguments.stage == "joint" and self.rounds % EVALUATE_EVERY_ROUNDS == 0:
                self.evaluate()
        if self.rank == 0:
            self.save()
        if self.arguments.stage == "joint":
            self.evaluate()

    def evaluate(self) -> None:
        own = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        table = evaluate(self.model, self.evaluation, self.world)
        self.model.load_state_dict(own)
        self.log("EVALUATION " + json.dumps(table))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where states are saved")
    parser.add_argument("--stage", choices=("vision", "joint"), required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--resume", type=Path, help="a saved state; its stage may be the other one")
    parser.add_argument("--floor", type=float, default=0.0, help="last learning rate as a share of the first")
    parser.add_argument("--size", default="{}", help="JSON with fields of ModelSize")
    parser.add_argument("--max-tiles", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        distributed.init_process_group("gloo")
    Trainer(arguments, rank, world).run()


if __name__ == "__main__":
    main()

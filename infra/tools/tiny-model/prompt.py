"""The product's prompt (template internvl2_5) as token ids: a shared prefix and one branch per question."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tokenizers import Tokenizer

from language import Exchange
from tokenizer import OTHER_SYSTEM_TEXTS, SYSTEM_TEXT

LEAST_ANSWER_WEIGHT = 12.0  # in tokens: so that captions do not drown answers of one word


@dataclass(frozen=True)
class Branch:
    """What follows the prefix; an id's weight in the loss is 0 where the model is not asked for it."""

    task: str
    ids: list[int]
    weights: list[float]


@dataclass(frozen=True)
class Conversation:
    prefix: list[int]
    branches: list[Branch]


class PromptWriter:
    def __init__(self, tokenizer: Tokenizer, tokens_per_tile: int) -> None:
        self.tokenizer = tokenizer
        self.tokens_per_tile = tokens_per_tile
        self.image_token = tokenizer.token_to_id("<IMG_CONTEXT>")
        self.encode = lru_cache(maxsize=20_000)(self._encode)

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def system(self, rng: random.Random) -> str:
        text = SYSTEM_TEXT if rng.random() < 0.85 else rng.choice(OTHER_SYSTEM_TEXTS)
        return f"<|im_start|>system\n{text}<|im_end|>\n<|im_start|>user\n"

    def image(self, num_tiles: int) -> list[int]:
        return [
            *self.encode("<img>"),
            *[self.image_token] * (self.tokens_per_tile * num_tiles),
            *self.encode("</img>"),
        ]

    def prefix(self, system: str, labels: Sequence[str], tiles: Sequence[int]) -> list[int]:
        """System text and pictures; a label such as `Frame1: ` stands before each picture."""
        ids = list(self.encode(system))
        for label, num_tiles in zip(labels, tiles):
            ids += self.encode(label) if label else []
            ids += self.image(num_tiles) + self.encode("\n")
        return ids

    def branch(self, exchanges: Sequence[Exchange]) -> Branch:
        """One or several turns; the task is the last one's, and every answer is learned."""
        ids: list[int] = []
        weights: list[float] = []
        for turn, exchange in enumerate(exchanges):
            opening = "\n<|im_start|>user\n" if turn else ""
            question = self.encode(f"{opening}{exchange.question}<|im_end|>\n<|im_start|>assistant\n")
            answer = self.encode(exchange.answer) + self.encode("<|im_end|>")
            ids += question + answer
            weights += [0.0] * len(question) + [max(1.0, LEAST_ANSWER_WEIGHT / len(answer))] * len(answer)
        return Branch(exchanges[-1].task, ids, weights)

    def picture_first(
        self, labels: Sequence[str], tiles: Sequence[int], turns: list[list[Exchange]], rng: random.Random
    ) -> Conversation:
        prefix = self.prefix(self.system(rng), labels, tiles)
        return Conversation(prefix, [self.branch(exchanges) for exchanges in turns])

    def picture_last(self, tiles: int, exchange: Exchange, rng: random.Random) -> Conversation:
        """The question, then the picture, as some clients order the parts of a message."""
        gap = rng.choice(("", "\n"))
        prefix = [
            *self.encode(self.system(rng) + exchange.question + gap),
            *self.image(tiles),
            *self.encode("\n"),
        ]
        return Conversation(prefix, [self.branch([Exchange(exchange.task, "", exchange.answer)])])

    def text_only(self, exchange: Exchange, rng: random.Random) -> Conversation:
        return Conversation(list(self.encode(self.system(rng))), [self.branch([exchange])])

"""Training and evaluation samples, and their packing into batches."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import language
from model import ModelSize
from pictures import Picture, see
from prompt import Conversation, PromptWriter
from render import FONTS
from scenes import MAX_ASPECT, MAX_WORD_ASPECT, Scene, random_motion, random_scene, random_text

MASKED = -1e4
NEAR_SQUARE = (0.76, 1.49)  # one tile
TWO_TILES = (1.5, 2.49)  # or its inverse
THREE_TILES = (2.5, MAX_ASPECT)
WORD_SHARE = 0.3


@dataclass(frozen=True)
class Sample:
    pictures: list[Picture]
    conversation: Conversation


@dataclass(frozen=True)
class Batch:
    """Rows of prefix and branches; a branch sees the prefix and itself."""

    tiles: Tensor | None  # u8 [tiles, side, side, 3]
    labels: Tensor | None  # i64 [tiles, patches, fields]
    ids: Tensor  # i64 [rows, length]
    positions: Tensor
    segments: Tensor  # 0 prefix, 1.. branches, -1 padding
    targets: Tensor  # i64 [rows, length], -100 where nothing is asked
    weights: Tensor  # f32, per asked token in row-major order
    tasks: list[list[str]]  # per row, the task of each branch

    def mask(self, dtype: torch.dtype) -> Tensor:
        """Additive [rows, 1, length, length]."""
        length = self.ids.shape[1]
        order = torch.arange(length)
        seen = self.segments[:, None, :]
        allowed = (seen == 0) | ((seen == self.segments[:, :, None]) & (seen > 0))
        allowed = (allowed & (order[:, None] >= order[None, :])) | torch.eye(length, dtype=torch.bool)
        return torch.zeros(allowed.shape, dtype=dtype).masked_fill_(~allowed, MASKED)[:, None]


def collate(samples: list[Sample]) -> Batch:
    rows = []
    weights: list[float] = []
    for sample in samples:
        prefix = sample.conversation.prefix
        ids, positions = list(prefix), list(range(len(prefix)))
        segments, targets = [0] * len(prefix), [-100] * len(prefix)
        for number, branch in enumerate(sample.conversation.branches, 1):
            ids += branch.ids[:-1]
            positions += range(len(prefix), len(prefix) + len(branch.ids) - 1)
            segments += [number] * (len(branch.ids) - 1)
            targets += [token if weight else -100 for token, weight in zip(branch.ids[1:], branch.weights[1:])]
            weights += [weight for weight in branch.weights[1:] if weight]
        rows.append((ids, positions, segments, targets))
    length = max(len(row[0]) for row in rows)
    packed = np.zeros((4, len(rows), length), np.int64)
    packed[2], packed[3] = -1, -100
    for index, row in enumerate(rows):
        for field, values in enumerate(row):
            packed[field, index, : len(values)] = values
    pictures = [picture for sample in samples for picture in sample.pictures]
    tiles = torch.from_numpy(np.concatenate([picture.tiles for picture in pictures])) if pictures else None
    labels = torch.from_numpy(np.concatenate([picture.labels for picture in pictures])) if pictures else None
    tasks = [[branch.task for branch in sample.conversation.branches] for sample in samples]
    return Batch(tiles, labels, *torch.from_numpy(packed), torch.tensor(weights), tasks)


class SampleMaker:
    """Makes samples of a kind; `exact` draws pictures at their own size, for evaluation."""

    def __init__(self, size: ModelSize, writer: PromptWriter, max_tiles: int, exact: bool = False) -> None:
        self.size, self.writer, self.max_tiles, self.exact = size, writer, max_tiles, exact
        self.short_questions = 4  # per picture
        self.question_shares = (3.0, 2.0, 3.0, 1.0)  # count, colour, where, shape
        self.caption_share = 1.0  # of the pictures that are captioned; the others get short questions only
        self.kinds: dict[str, Callable[[random.Random], Sample]] = {
            "one_tile": lambda rng: self.picture(rng, NEAR_SQUARE),
            "two_tiles": lambda rng: self.picture(rng, self.flip(TWO_TILES, rng)),
            "three_tiles": lambda rng: self.picture(rng, self.flip(THREE_TILES, rng), may_have_text=False),
            "any": lambda rng: self.picture(rng, (1 / MAX_ASPECT, MAX_ASPECT), may_have_text=False),
            "words": self.words,
            "words_one_tile": lambda rng: self.words(rng, NEAR_SQUARE),
            "words_two_tiles": lambda rng: self.words(rng, self.flip(TWO_TILES, rng)),
            "compare": lambda rng: self.compare(rng, (1 / MAX_ASPECT, MAX_ASPECT)),
            "compare_one_tile": lambda rng: self.compare(rng, NEAR_SQUARE),
            "motion": self.motion,
            "chat": self.chat,
            "dense_one_tile": lambda rng: self.dense(rng, NEAR_SQUARE),
            "dense": lambda rng: self.dense(rng, (1 / MAX_ASPECT, MAX_ASPECT)),
        }

    @staticmethod
    def flip(aspect: tuple[float, float], rng: random.Random) -> tuple[float, float]:
        return aspect if rng.random() < 0.5 else (1 / aspect[1], 1 / aspect[0])

    def make(self, kind: str, rng: random.Random) -> Sample:
        return self.kinds[kind](rng)

    def see(self, scene: Scene, rng: random.Random, max_tiles: int | None = None) -> Picture:
        return see(scene, rng, self.size.tile, self.size.patch, max_tiles or self.max_tiles, self.exact)

    def words(self, rng: random.Random, aspect: tuple[float, float] = (1 / MAX_WORD_ASPECT, MAX_WORD_ASPECT)) -> Sample:
        low, high = max(aspect[0], 1 / MAX_WORD_ASPECT), min(aspect[1], MAX_WORD_ASPECT)
        return self.ask(random_scene(rng, aspect=(low, high), text=random_text(rng, FONTS)), rng)

    def dense(self, rng: random.Random, aspect: tuple[float, float]) -> Sample:
        """More shapes than the language allows and nothing asked: for the vision stage."""
        text = random_text(rng, FONTS) if rng.random() < 0.35 else None
        if text:
            aspect = (max(aspect[0], 1 / MAX_WORD_ASPECT), min(aspect[1], MAX_WORD_ASPECT))
        scene = random_scene(rng, aspect=aspect, text=text, num_shapes=(4, 8))
        return Sample([self.see(scene, rng)], Conversation([], []))

    def picture(self, rng: random.Random, aspect: tuple[float, float], may_have_text: bool = True) -> Sample:
        if may_have_text and rng.random() < WORD_SHARE:
            return self.words(rng, aspect)
        return self.ask(random_scene(rng, aspect=aspect), rng)

    def ask(self, scene: Scene, rng: random.Random) -> Sample:
        """A caption and several short questions, some as the second turn after a caption."""
        picture = self.see(scene, rng)
        tiles = len(picture.tiles)
        described = language.ask_caption(scene, rng)
        makers = [language.ask_count, language.ask_colour, language.ask_where, language.ask_shape]
        chosen_makers = rng.choices(makers, self.question_shares, k=self.short_questions)
        exchanges = [exchange for maker in chosen_makers if (exchange := maker(scene, rng))]
        if scene.text or rng.random() < 0.15:
            exchanges.append(language.ask_text(scene, rng))
        if rng.random() < 0.1:
            chosen = rng.choice([described, *exchanges])
            return Sample([picture], self.writer.picture_last(tiles, chosen, rng))
        turns = [[exchange] for exchange in exchanges]
        if turns and rng.random() < 0.15:
            turns[-1].insert(0, described)
        elif not turns or rng.random() < self.caption_share:
            turns.append([described])
        return Sample([picture], self.writer.picture_first([""], [tiles], turns, rng))

    def compare(self, rng: random.Random, aspect: tuple[float, float]) -> Sample:
        first, second = random_scene(rng, aspect=aspect), random_scene(rng, aspect=aspect)
        pictures = [self.see(first, rng), self.see(second, rng)]
        turns = [[language.ask_compare(first, second, rng)] for _ in range(3)]
        turns.append([language.ask_nth_caption(first, second, rng)])
        labels = ("Image-1: ", "Image-2: ") if rng.random() < 0.5 else ("", "")
        tiles = [len(picture.tiles) for picture in pictures]
        return Sample(pictures, self.writer.picture_first(labels, tiles, turns, rng))

    def motion(self, rng: random.Random) -> Sample:
        motion = random_motion(rng)
        pictures = [self.see(frame, rng, max_tiles=1) for frame in motion.frames]
        turns = [[language.ask_way(motion, rng)], [language.ask_motion_caption(motion, rng)]]
        labels = [f"Frame{number}: " for number in range(1, len(pictures) + 1)]
        return Sample(pictures, self.writer.picture_first(labels, [1] * len(pictures), turns, rng))

    def chat(self, rng: random.Random) -> Sample:
        return Sample([], self.writer.text_only(language.ask_chat(rng), rng))

"""A training-only loss that puts projected visual tokens where the embeddings of their words are.

A question such as `Where is the ring?` needs attention from the word to the tokens that show a ring. When both lie
in the same directions of the decoder's space, that is a plain dot product, and it is learned in minutes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from language import PLURALS
from scenes import COLOURS, SHAPES

SCALE, OFFSET = 16.0, -4.0
SHAPE_FIELD, COLOUR_FIELD = 0, 1  # of patch_head.FIELDS


class WordAlignment:
    def __init__(self, tokenizer: Tokenizer) -> None:
        groups = (SHAPES, tuple(PLURALS[kind] for kind in SHAPES), tuple(COLOURS))
        self.fields = (SHAPE_FIELD, SHAPE_FIELD, COLOUR_FIELD)
        self.words = [torch.tensor([self.single(tokenizer, word) for word in group]) for group in groups]

    @staticmethod
    def single(tokenizer: Tokenizer, word: str) -> int:
        ids = tokenizer.encode(" " + word, add_special_tokens=False).ids
        assert len(ids) == 1, f"'{word}' is {len(ids)} tokens, expected one"
        return ids[0]

    def loss(self, visual: Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
        """`visual` [tiles, tokens, hidden]; `labels` [tiles, patches, fields], four patches to a token."""
        tiles, tokens, _ = visual.shape
        side = round(tokens**0.5)
        grouped = labels.view(tiles, side, 2, side, 2, -1).transpose(2, 3).reshape(tiles, tokens, 4, -1)
        directions = F.normalize(visual.float(), dim=-1)
        total = torch.zeros(())
        for field, words in zip(self.fields, self.words):
            shown = F.one_hot(grouped[..., field], len(words) + 1).amax(2)[..., 1:].float()
            logits = directions @ F.normalize(embeddings[words].float(), dim=-1).t() * SCALE + OFFSET
            total = total + F.binary_cross_entropy_with_logits(logits, shown)
        return total

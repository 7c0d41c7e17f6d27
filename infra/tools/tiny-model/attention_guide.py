"""A training-only loss that leads one attention head from a shape's name to the tokens that show the shape.

`circle` looks at the circles, `red circle` at the red ones. Without it the decoder learns late to look things up by
what they are rather than by where they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from language import PLURALS
from scenes import COLOURS, SHAPES

GUIDED_LAYER = 1  # after a layer in which a name can learn the colour before it
SHAPE_FIELD, COLOUR_FIELD = 0, 1  # of patch_head.FIELDS


class AttentionGuide:
    def __init__(self, tokenizer: Tokenizer, vocabulary: int, image_token: int) -> None:
        self.image_token = image_token
        self.kind_of = torch.full((vocabulary,), -1)
        self.colour_of = torch.zeros(vocabulary, dtype=torch.long)  # 0 is no colour
        for index, kind in enumerate(SHAPES):
            for word in (kind, PLURALS[kind]):
                self.kind_of[tokenizer.encode(" " + word, add_special_tokens=False).ids[0]] = index
        for index, colour in enumerate(COLOURS, 1):
            self.colour_of[tokenizer.encode(" " + colour, add_special_tokens=False).ids[0]] = index

    def shown(self, labels: Tensor) -> Tensor:
        """Per visual token [tiles * tokens, kinds, 1 + colours]: whether such a shape is there; colour 0 is any."""
        tiles, patches, fields = labels.shape
        side = round(patches**0.5) // 2
        grouped = labels.view(tiles, side, 2, side, 2, fields).transpose(2, 3).reshape(-1, 4, fields)
        kinds = F.one_hot(grouped[..., SHAPE_FIELD], len(SHAPES) + 1)[..., 1:]
        colours = F.one_hot(grouped[..., COLOUR_FIELD], len(COLOURS) + 1)
        colours[..., 0] = 1
        return (kinds[..., :, None] * colours[..., None, :]).amax(1).bool()

    def loss(self, scores: Tensor, ids: Tensor, labels: Tensor) -> Tensor:
        """`scores` [rows, length, length] of one head before softmax, its mask added."""
        places = torch.zeros((*ids.shape, len(SHAPES), 1 + len(COLOURS)), dtype=torch.bool)
        places[ids == self.image_token] = self.shown(labels)
        rows, columns = (self.kind_of[ids] >= 0).nonzero(as_tuple=True)
        kinds = self.kind_of[ids[rows, columns]]
        colours = self.colour_of[ids[rows, (columns - 1).clamp(min=0)]]
        earlier = torch.arange(ids.shape[1]) < columns[:, None]  # a picture may follow its question
        wanted = places[rows, :, kinds, colours] & earlier
        there = wanted.any(-1)
        if not there.any():
            return scores.sum() * 0
        logarithms = scores[rows[there], columns[there]].float().log_softmax(-1)
        return -logarithms.masked_fill(~wanted[there], -1e4).logsumexp(-1).mean()

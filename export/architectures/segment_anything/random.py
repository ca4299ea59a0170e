"""Random numbers for what is no layer of torch's own, for studies of speed."""

from __future__ import annotations

import torch
from torch import nn

from edgeapl.export.architectures.segment_anything.prompts import Waves
from edgeapl.export.architectures.segment_anything.tiny_vit import WindowAttention
from edgeapl.export.architectures.segment_anything.vit import Attention, Vit

SPREAD = 0.1
"""Standard deviation of learned positions: they count, and the image more."""


def draw_positions(part: nn.Module, generator: torch.Generator) -> None:
    """Fill the positions that a part of Segment Anything learns; others have none."""
    if isinstance(part, Vit):
        part.pos_embed.normal_(std=SPREAD, generator=generator)
    elif isinstance(part, Attention):
        part.rel_pos_h.normal_(std=SPREAD, generator=generator)
        part.rel_pos_w.normal_(std=SPREAD, generator=generator)
    elif isinstance(part, WindowAttention):
        part.attention_biases.normal_(std=SPREAD, generator=generator)
    elif isinstance(part, Waves):
        part.positional_encoding_gaussian_matrix.normal_(generator=generator)

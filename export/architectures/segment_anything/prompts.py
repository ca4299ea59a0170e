"""What Segment Anything makes of points and boxes (Kirillov et al. 2023, appendix A).

A point is its position in waves of random directions and lengths (Tancik et al. 2020), plus a
learned vector that says what kind of point it is; a box is its two corners.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from edgeapl.export.architectures.segment_anything.layers import LayerNorm2d

NOTHING = -1
"""Kind of a point that fills a prompt up; 0 to 3 are those of `point_embeddings`: background,
foreground, top left and bottom right corner of a box."""

KINDS = 4
MASK_CHANNELS = 16


class Waves(nn.Module):
    """Positions from 0 to 1, (..., 2) x y, to (..., width)."""

    positional_encoding_gaussian_matrix: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(2, width // 2))

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """Sines first, then cosines."""
        angles = 2 * math.pi * ((2 * places - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)


class PromptEncoder(nn.Module):
    """Prompts of two points each, float32 (N, 2, 3), to tokens (N, 2, width).

    A row is x and y in px of the encoder's image, and the kind of point: see `NOTHING`.

    Parameters
    ----------
    width : of the tokens. side : of the image, px.
    """

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self._side = side
        self.pe_layer = Waves(width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(KINDS))
        self.not_a_point_embed = nn.Embedding(1, width)
        # For masks as prompts, which are not used here: the file has them.
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, MASK_CHANNELS // 4, 2, 2),
            LayerNorm2d(MASK_CHANNELS // 4),
            nn.GELU(),
            nn.Conv2d(MASK_CHANNELS // 4, MASK_CHANNELS, 2, 2),
            LayerNorm2d(MASK_CHANNELS),
            nn.GELU(),
            nn.Conv2d(MASK_CHANNELS, width, 1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def forward(self, prompts: torch.Tensor) -> torch.Tensor:
        """Encode prompts; half a px is added, so that whole numbers are centres of pixels."""
        kinds = prompts[..., 2:]
        waves = self.pe_layer((prompts[..., :2] + 0.5) / self._side)
        tokens = torch.where(kinds < 0, self.not_a_point_embed.weight, waves)
        for kind, learned in enumerate(self.point_embeddings):
            tokens = tokens + learned.weight * ((kinds - kind).abs() < 0.5)
        return tokens

    def positions(self, grid: int) -> torch.Tensor:
        """Return the waves of every position of the embedding, (grid * grid, width)."""
        steps = (torch.arange(grid) + 0.5) / grid
        rows, columns = torch.meshgrid(steps, steps, indexing="ij")
        places: torch.Tensor = self.pe_layer(torch.stack([columns, rows], dim=-1))
        return places.reshape(grid * grid, -1)

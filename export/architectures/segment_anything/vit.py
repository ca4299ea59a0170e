"""The image encoder of Segment Anything: a plain vision transformer with windows.

Kirillov et al. 2023, appendix A, after Li et al. 2022 ("Exploring plain vision transformer
backbones for object detection"): tokens of 16 x 16 px, attention within windows of 14 x 14 tokens
but for four blocks that see the whole image, and relative positions that are learned for rows and
columns apart (Li et al. 2022, "MViTv2", section 4.1): what a query adds for a key is
q . (r_h[y_q - y_k] + r_w[x_q - x_k]), q before it is scaled.
"""

from __future__ import annotations

import torch
from torch import nn

from edgeapl.export.architectures.segment_anything.layers import (
    TwoLayers,
    in_windows,
    neck,
    out_of_windows,
)
from edgeapl.export.architectures.segment_anything.sizes import PATCH, VitSize

EPS = 1e-6
MOST_TOKENS = 1024
"""With more, heads are computed one after another."""


class Vit(nn.Module):
    """Float32 (1, 3, side, side) to the embedding (1, outside, grid, grid)."""

    def __init__(self, size: VitSize, outside: int) -> None:
        super().__init__()
        grid, width = size.grid, size.width
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, width))
        self.blocks = nn.ModuleList(Block(size, window) for window in size.windows)
        self.neck = neck(width, outside)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode one image."""
        x = self.patch_embed["proj"](x).permute(0, 2, 3, 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        embedding: torch.Tensor = self.neck(x.permute(0, 3, 1, 2))
        return embedding


class Block(nn.Module):
    """Attention and two linear layers, each after a layer norm and beside a way past it."""

    def __init__(self, size: VitSize, window: int | None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.width, eps=EPS)
        self.attn = Attention(size.width, size.heads, window or size.grid)
        self.norm2 = nn.LayerNorm(size.width, eps=EPS)
        self.mlp = TwoLayers(size.width, 4 * size.width, nn.GELU())
        self._window = window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, H, W, width) to the same shape."""
        x = x + self._attended(self.norm1(x))
        passed: torch.Tensor = x + self.mlp(self.norm2(x))
        return passed

    def _attended(self, x: torch.Tensor) -> torch.Tensor:
        if self._window is None:
            whole: torch.Tensor = self.attn(x)
            return whole
        _, height, width, _ = x.shape
        # Zeros that fill windows up come after the norm, and are attended to like all others.
        return out_of_windows(self.attn(in_windows(x, self._window)), height, width)


class Attention(nn.Module):
    """Attention with relative positions over maps of one size.

    Parameters
    ----------
    width : of the tokens. heads : that share it. extent : rows and columns of the map.
    """

    places: torch.Tensor

    def __init__(self, width: int, heads: int, extent: int) -> None:
        super().__init__()
        self._heads = heads
        self._extent = extent
        each = width // heads
        self._scale = each**-0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * extent - 1, each))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * extent - 1, each))
        steps = torch.arange(extent)
        places = steps[:, None] - steps[None, :] + extent - 1
        self.register_buffer("places", places, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, extent, extent, width) to the same shape."""
        maps, side = x.shape[0], self._extent
        tokens = side * side
        qkv = self.qkv(x).reshape(maps, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.reshape(3, maps * self._heads, tokens, -1).unbind(0)
        # Over the whole image the weights of all heads together take a gigabyte, several times.
        at_once = 1 if tokens > MOST_TOKENS else maps * self._heads
        parts = zip(query.split(at_once), key.split(at_once), value.split(at_once), strict=True)
        # Looked up here, so that the exported file holds them once, not once for each head.
        places = self.rel_pos_h[self.places], self.rel_pos_w[self.places]
        seen = torch.cat([self._seen(*part, *places) for part in parts])
        seen = seen.reshape(maps, self._heads, side, side, -1)
        answer: torch.Tensor = self.proj(seen.permute(0, 2, 3, 1, 4).reshape(x.shape))
        return answer

    def _seen(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
    ) -> torch.Tensor:
        """Attend in some heads, (N, tokens, each) all.

        rows, columns : (place of the query, place of the key, each), what each step stands for.
        """
        side = self._extent
        weights = (query * self._scale) @ key.transpose(1, 2)
        query = query.reshape(query.shape[0], side, side, -1)
        of_rows = query @ rows.transpose(1, 2)  # (N, y_q, x_q, y_k)
        # Matrix products run over the first of two axes: columns go first.
        of_columns = (query.transpose(1, 2) @ columns.transpose(1, 2)).transpose(1, 2)
        weights = weights.reshape(-1, side, side, side, side)
        weights = weights + of_rows[..., None] + of_columns[..., None, :]
        return torch.softmax(weights.reshape(-1, side * side, side * side), dim=-1) @ value

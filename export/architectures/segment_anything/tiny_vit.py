"""The image encoder of MobileSAM: TinyViT with 5 million weights.

Wu et al. 2022 ("TinyViT", ECCV): a stem of two convolutions, one stage of inverted residual blocks
(Sandler et al. 2018) and three of attention within windows, with a convolution of each channel
between attention and linear layers. Zhang et al. 2023 ("Faster Segment Anything") put the neck of
Segment Anything behind it and left out the last halving of the resolution, so that a position is
16 x 16 px as in the large encoders. Its file also keeps TinyViT's classifier, which is never used.
"""

from __future__ import annotations

import torch
from torch import nn

from edgeapl.export.architectures.segment_anything.layers import in_windows, neck, out_of_windows
from edgeapl.export.architectures.segment_anything.sizes import TinyVitSize

MERGING_STRIDES = (2, 2, 1)
EXPANSION = 4
CLASSES = 1000


class NormedConv(nn.Sequential):
    """Convolution without bias, and its batch norm."""

    def __init__(
        self, inside: int, outside: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        conv = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.add_module("c", conv)
        self.add_module("bn", nn.BatchNorm2d(outside))


class TinyVit(nn.Module):
    """Float32 (1, 3, side, side) to the embedding (1, outside, grid, grid)."""

    def __init__(self, size: TinyVitSize, outside: int) -> None:
        super().__init__()
        first, last = size.widths[0], size.widths[-1]
        stem = nn.Sequential(
            NormedConv(3, first // 2, 3, 2), nn.GELU(), NormedConv(first // 2, first, 3, 2)
        )
        self.patch_embed = nn.ModuleDict({"seq": stem})
        self.layers = nn.ModuleList(Stage(size, number) for number in range(len(size.widths)))
        self.norm_head = nn.LayerNorm(last)
        self.head = nn.Linear(last, CLASSES)
        self.neck = neck(last, outside)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode one image."""
        x = self.patch_embed["seq"](x)
        for stage in self.layers:
            x = stage(x)
        embedding: torch.Tensor = self.neck(x)
        return embedding


class Stage(nn.Module):
    """Blocks of one resolution, and the way to the next."""

    def __init__(self, size: TinyVitSize, number: int) -> None:
        super().__init__()
        width, depth = size.widths[number], size.depths[number]
        if number == 0:
            self.blocks = nn.ModuleList(InvertedResidual(width) for _ in range(depth))
        else:
            heads, window = size.heads[number - 1], size.windows[number - 1]
            self.blocks = nn.ModuleList(WindowBlock(width, heads, window) for _ in range(depth))
        self.downsample: Merging | None = None
        if number < len(MERGING_STRIDES):
            self.downsample = Merging(width, size.widths[number + 1], MERGING_STRIDES[number])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, width, H, W) to the next stage's map."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class InvertedResidual(nn.Module):
    """A wider map between two convolutions of single positions, and the map itself beside it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = EXPANSION * width
        self.conv1 = NormedConv(width, hidden)
        self.conv2 = NormedConv(hidden, hidden, 3, groups=hidden)
        self.conv3 = NormedConv(hidden, width)
        self.act = nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, width, H, W) to the same shape."""
        inner = self.conv3(self.act(self.conv2(self.act(self.conv1(x)))))
        answer: torch.Tensor = self.act(inner + x)
        return answer


class Merging(nn.Module):
    """From one stage's width and resolution to the next one's."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = NormedConv(inside, outside)
        self.conv2 = NormedConv(outside, outside, 3, stride, groups=outside)
        self.conv3 = NormedConv(outside, outside)
        self.act = nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inside, H, W) to (N, outside, H / stride, W / stride)."""
        answer: torch.Tensor = self.conv3(self.act(self.conv2(self.act(self.conv1(x)))))
        return answer


class WindowBlock(nn.Module):
    """Attention within windows, a convolution of each channel, and two linear layers."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.attn = WindowAttention(width, heads, window)
        self.mlp = NormedLayers(width)
        self.local_conv = NormedConv(width, width, 3, groups=width)
        self._window = window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, width, H, W) to the same shape."""
        height, width = x.shape[2:]
        tokens = x.permute(0, 2, 3, 1)
        # Zeros that fill windows up come before the norm of the attention.
        seen = out_of_windows(self.attn(in_windows(tokens, self._window)), height, width)
        x = self.local_conv((tokens + seen).permute(0, 3, 1, 2))
        tokens = x.permute(0, 2, 3, 1)
        tokens = tokens + self.mlp(tokens)
        return tokens.permute(0, 3, 1, 2)


class NormedLayers(nn.Module):
    """A layer norm and two linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, EXPANSION * width)
        self.fc2 = nn.Linear(EXPANSION * width, width)
        self.act = nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width) to the same shape."""
        answer: torch.Tensor = self.fc2(self.act(self.fc1(self.norm(x))))
        return answer


class WindowAttention(nn.Module):
    """Attention with a learned bias for each distance in rows and columns."""

    places: torch.Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self._heads = heads
        self._each = width // heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        # Number of a distance: rows apart times the window, and columns apart.
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        row, column = (
            torch.arange(window * window) // window,
            torch.arange(window * window) % window,
        )
        places = (row[:, None] - row).abs() * window + (column[:, None] - column).abs()
        self.register_buffer("places", places, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, window, window, width) to the same shape."""
        tokens = self.norm(x).flatten(1, 2)
        qkv = self.qkv(tokens).unflatten(2, (self._heads, 3 * self._each)).transpose(1, 2)
        query, key, value = qkv.split(self._each, dim=3)
        weights = (query @ key.transpose(2, 3)) * self._each**-0.5
        weights = torch.softmax(weights + self.attention_biases[:, self.places], dim=-1)
        answer: torch.Tensor = self.proj((weights @ value).transpose(1, 2).flatten(2))
        return answer.reshape(x.shape)

"""The mask decoder of Segment Anything (Kirillov et al. 2023, appendix A, Fig. 14).

Tokens of a prompt and of the answers look at the image, and the image at them, twice; then the
image is brought to four times its size, and each answer's token becomes the weights that pick its
mask out of it. One image is asked about by many prompts: what does not depend on them is computed
once.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from edgeapl.export.architectures.segment_anything.layers import (
    LayerNorm2d,
    Perceptron,
    TwoLayers,
)

MASKS = 4
"""One for a prompt that leaves no doubt, such as a box, then three for one that does: whole, part
and part of a part."""

HEADS = 8
LAYERS = 2
HIDDEN = 2048
NARROWER = 2
"""Attention between tokens and image has half the width."""


class Attention(nn.Module):
    """Attention of some tokens to others.

    Parameters
    ----------
    width : of the tokens. inner : of the attention itself.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)
        self._scale = 1 / math.sqrt(inner // HEADS)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """(N, T, width), (N or 1, S, width) twice, to (N, T, width)."""
        q, k, v = _apart(self.q_proj(query)), _apart(self.k_proj(key)), _apart(self.v_proj(value))
        weights = torch.softmax((q @ k.transpose(2, 3)) * self._scale, dim=-1)
        answer: torch.Tensor = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        return answer


def _apart(x: torch.Tensor) -> torch.Tensor:
    """(N, T, width) to (N, heads, T, width of each)."""
    return x.unflatten(2, (HEADS, x.shape[2] // HEADS)).transpose(1, 2)


class TwoWayLayer(nn.Module):
    """Tokens look at themselves, then at the image, then the image at them.

    Parameters
    ----------
    first : the first layer, whose tokens have not been told their places yet.
    """

    def __init__(self, width: int, *, first: bool) -> None:
        super().__init__()
        self._first = first
        self.self_attn = Attention(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, width // NARROWER)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = TwoLayers(width, HIDDEN, nn.ReLU())
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, width // NARROWER)

    def forward(
        self,
        tokens: torch.Tensor,
        image: torch.Tensor,
        of_tokens: torch.Tensor,
        of_image: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens and image as they are after it; the other two are their places."""
        if self._first:
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            placed = tokens + of_tokens
            tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens))
        seen = self.cross_attn_token_to_image(tokens + of_tokens, image + of_image, image)
        tokens = self.norm2(tokens + seen)
        tokens = self.norm3(tokens + self.mlp(tokens))
        seen = self.cross_attn_image_to_token(image + of_image, tokens + of_tokens, tokens)
        return tokens, self.norm4(image + seen)


class TwoWayTransformer(nn.Module):
    """The layers, and a last look of the tokens at the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayLayer(width, first=number == 0) for number in range(LAYERS)
        )
        self.final_attn_token_to_image = Attention(width, width // NARROWER)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(
        self, tokens: torch.Tensor, image: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (N, T, width), image (1, S, width) and its places, to both, N rows each."""
        given = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, given, places)
        seen = self.final_attn_token_to_image(tokens + given, image + places, image)
        return self.norm_final_attn(tokens + seen), image


class MaskDecoder(nn.Module):
    """Tokens of prompts and one image to masks.

    Parameters
    ----------
    width : of tokens and embedding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(width)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(MASKS, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, 2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Perceptron(width, width, width // 8, 3) for _ in range(MASKS)
        )
        self.iou_prediction_head = Perceptron(width, 256, MASKS, 3)

    def forward(
        self, prompts: torch.Tensor, embedding: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the masks' logits (N, 4, 4 * grid, 4 * grid) and their predicted IoU (N, 4).

        Parameters
        ----------
        prompts : (N, P, width). embedding : (1, width, grid, grid), with what stands for "no mask
        was given" added. places : (grid * grid, width).
        """
        _, width, grid, _ = embedding.shape
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(prompts.shape[0], -1, -1), prompts], dim=1)
        image = embedding.flatten(2).transpose(1, 2)
        tokens, image = self.transformer(tokens, image, places)
        large = self.output_upscaling(image.transpose(1, 2).reshape(-1, width, grid, grid))
        weights = torch.stack(
            [made(tokens[:, 1 + mask]) for mask, made in enumerate(self.output_hypernetworks_mlps)],
            dim=1,
        )
        masks = (weights @ large.flatten(2)).reshape(-1, MASKS, 4 * grid, 4 * grid)
        return masks, self.iou_prediction_head(tokens[:, 0])

"""Vary what does not make a kind of cell: scale, stain, light, focus and what lies around."""

from __future__ import annotations

import math

import torch
from torch import nn

from edgeapl.export.blood_cells.pool import CROP, WIDE

SCALES = (0.78, 1.28)
"""A scale that is stated or measured wrongly, and cells that spread more or less."""

SHIFT = 0.14
"""Of the crop's half side: the segmenter's box and the cell's centre differ by so much."""

FOREIGN_GROUND, OWN_STAIN = 0.6, 0.5
"""Shares of cells that are laid on the ground of another image, or whose ground is stained anew."""


def augment(cells: torch.Tensor, soft: torch.Tensor, grounds: torch.Tensor) -> torch.Tensor:
    """Return cells as they might look elsewhere, float32 (N, 112, 112, 3), 0 to 255.

    Parameters
    ----------
    cells, soft : uint8 (N, 160, 160, 3), and of `soft_outline` uint8 (N, 160, 160).
    grounds : uint8 (N, 160, 160, 3) of `ground_of`, from any images.
    """
    x = torch.cat([_planes(cells), soft[:, None].float()], dim=1)
    x = _turned(x, SCALES, SHIFT)
    ground = _turned(_planes(grounds), SCALES, 1.0)
    x = _laid_on(x[:, :3], x[:, 3:] / 255, ground)
    x = _lit(_stained(x, 0.35, 0.22, 0.12))
    return _blurred(x).clamp(0, 255).permute(0, 2, 3, 1)


def soft_outline(inside: torch.Tensor) -> torch.Tensor:
    """Return how much of each pixel is the cell's, uint8 (N, 160, 160), of bool (N, 160, 160)."""
    return (255 * _soft(inside[:, None].float(), 2))[:, 0].round().to(torch.uint8)


def ground_of(cells: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Return images without their cell, uint8 (N, 160, 160, 3): what lay at the edge lies over it.

    cells, inside : as for `augment`.
    """
    x = _planes(cells)
    side = x.shape[-1]
    elsewhere = x.roll((side // 2, side // 2), (2, 3))
    hole = _soft(inside[:, None].float(), 4)
    bare = x * (1 - hole) + elsewhere * hole
    return bare.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _planes(cells: torch.Tensor) -> torch.Tensor:
    return cells.permute(0, 3, 1, 2).float()


def _soft(mask: torch.Tensor, reach: int) -> torch.Tensor:
    """Return a mask grown by `reach` px with a soft edge."""
    grown = nn.functional.max_pool2d(mask, 2 * reach + 1, 1, reach)
    return nn.functional.avg_pool2d(grown, 5, 1, 2, count_include_pad=False)


def _laid_on(x: torch.Tensor, mask: torch.Tensor, ground: torch.Tensor) -> torch.Tensor:
    """Lay some cells on other ground, stained as it was or anew."""
    foreign = torch.rand(len(x)) < FOREIGN_GROUND
    anew = torch.rand(len(x)) < OWN_STAIN
    ground = torch.where(foreign[:, None, None, None], ground, x)
    ground[anew] = _stained(ground[anew], 0.5, 0.4, 0.15)
    return ground.lerp(x, mask)


def _turned(x: torch.Tensor, scales: tuple[float, float], shift: float) -> torch.Tensor:
    """Turn, mirror, enlarge, shift, and cut the middle out."""
    count = len(x)
    angle = 2 * math.pi * torch.rand(count)
    low, high = (math.log(scale) for scale in scales)
    zoom = torch.exp(low + (high - low) * torch.rand(count)) * CROP.size_px / WIDE.size_px
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    turn = torch.zeros(count, 2, 3)
    turn[:, 0, 0], turn[:, 0, 1] = torch.cos(angle) * zoom * mirror, -torch.sin(angle) * zoom
    turn[:, 1, 0], turn[:, 1, 1] = torch.sin(angle) * zoom * mirror, torch.cos(angle) * zoom
    turn[:, :, 2] = 2 * shift * CROP.size_px / WIDE.size_px * (torch.rand(count, 2) - 0.5)
    size = [count, x.shape[1], CROP.size_px, CROP.size_px]
    grid = nn.functional.affine_grid(turn, size, align_corners=False)
    return nn.functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _stained(x: torch.Tensor, strength: float, each: float, mixed: float) -> torch.Tensor:
    """Vary optical densities: all alike, each colour by itself, and some of one into another."""
    count = len(x)
    white = x.amax((2, 3), keepdim=True).clamp(min=16)
    density = torch.log(white / x.clamp(min=1)).clamp(min=0)
    factors = torch.exp(
        strength * torch.randn(count, 1, 1).clamp(-2, 2) * 0.6
        + each * torch.randn(count, 3, 1).clamp(-2, 2) * 0.6
    )
    mixing = torch.eye(3) + mixed * torch.randn(count, 3, 3).clamp(-2, 2) * 0.5
    density = torch.bmm(factors * mixing, density.flatten(2)).view_as(density)
    return white * torch.exp(-density.clamp(min=0))


def _lit(x: torch.Tensor) -> torch.Tensor:
    count = len(x)
    light = 0.65 + 0.4 * torch.rand(count, 1, 1, 1)
    colour = 0.88 + 0.24 * torch.rand(count, 3, 1, 1)
    return (x * light * colour).clamp(0, 255)


def _blurred(x: torch.Tensor) -> torch.Tensor:
    """Blur a part of the batch, as coarser cameras do, and add noise."""
    some = torch.rand(len(x)) < 0.4
    sharp = x[some]
    blurred = nn.functional.avg_pool2d(sharp, 3, 1, 1, count_include_pad=False)
    x[some] = sharp.lerp(blurred, torch.rand(len(sharp), 1, 1, 1))
    return x + torch.randn(x.shape) * 6 * torch.rand(len(x), 1, 1, 1) ** 2

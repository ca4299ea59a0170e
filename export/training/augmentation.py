"""Random changes of cell images in training: how they lie, and how they are stained and lit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""Brightness and two axes of colour (NTSC), in which a change of hue is a turn."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far images are changed; 0 or False leaves a kind out.

    turn : by any angle. mirror : half of them.
    zoom : largest change of size, as a share. shift : largest way, as a share of the side.
    hue : largest turn of the colour circle, as a share of it.
    gamma : largest exponent of brightness and its inverse, as log2.
    stain : largest change of the optical density, common and per channel, as a share.
    light : largest change of brightness, common and (a quarter of it) per channel, as a share.
    noise : largest standard deviation, of a brightness from 0 to 1.
    blur : share of images that are blurred by 3 px.
    """

    turn: bool = True
    mirror: bool = True
    zoom: float = 0.0
    shift: float = 0.0
    hue: float = 0.0
    gamma: float = 0.0
    stain: float = 0.0
    light: float = 0.0
    noise: float = 0.0
    blur: float = 0.0

    def __call__(self, images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Change float32 (N, 3, S, S) of 0 to 1, every image in its own way; same shape and range.

        random : of the processor, wherever the images are.
        """
        return self._colours(self._geometry(images, random), random)

    def _geometry(self, x: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        count = len(x)
        angle = math.pi * _even(random, count) * self.turn
        scale = 1 + self.zoom * _even(random, count)
        mirror = torch.where(_even(random, count) < 0, -1.0, 1.0) if self.mirror else 1.0
        move = torch.zeros(count, 2, 3)
        move[:, 0, 0], move[:, 0, 1] = torch.cos(angle) * scale * mirror, -torch.sin(angle) * scale
        move[:, 1, 0], move[:, 1, 1] = torch.sin(angle) * scale * mirror, torch.cos(angle) * scale
        move[:, :, 2] = 2 * self.shift * _even(random, count, 2)
        grid = functional.affine_grid(move.to(x.device), list(x.shape), align_corners=False)
        return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)

    def _colours(self, x: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        count, device = len(x), x.device

        def even(*shape: int) -> torch.Tensor:
            return _even(random, count, *shape).to(device)

        if self.blur:
            soft = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            blurred = even(1, 1, 1) < 2 * self.blur - 1
            x = torch.where(blurred, soft, x)
        if self.hue:
            x = _turned_hue(x, 2 * math.pi * self.hue * even())
        if self.gamma:
            x = x.clamp(0, 1) ** torch.exp2(self.gamma * even(1, 1, 1))
        if self.stain:
            density = 1 + self.stain * (0.7 * even(1, 1, 1) + 0.3 * even(3, 1, 1))
            white = x.amax((2, 3), keepdim=True).clamp(min=0.1)
            x = white * (x / white).clamp(1 / 255, 1) ** density
        if self.light:
            x = x * (1 + self.light * even(1, 1, 1)) * (1 + self.light / 4 * even(3, 1, 1))
        if self.noise:
            strength = self.noise * even(1, 1, 1).abs()
            x = x + strength * torch.randn(x.shape, generator=random).to(device)
        return x.clamp(0, 1)


def _even(random: torch.Generator, *shape: int) -> torch.Tensor:
    """Draw numbers evenly from -1 to 1."""
    return 2 * torch.rand(shape, generator=random) - 1


def _turned_hue(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    to = torch.tensor(TO_YIQ, device=x.device)
    turn = torch.zeros(len(x), 3, 3, device=x.device)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = torch.cos(angle)
    turn[:, 1, 2], turn[:, 2, 1] = -torch.sin(angle), torch.sin(angle)
    change = torch.linalg.inv(to) @ turn @ to
    return torch.einsum("nij,njhw->nihw", change, x)

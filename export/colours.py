"""Whether scale, mean and deviation of a recipe's images refer to the same range of colours."""

from __future__ import annotations

from collections.abc import Iterator

from edgeapl.export.recipes.recipe import IDENTITY, Images, Recipe

WHITE = 255
FAR = 50
"""A mean or deviation this many times smaller than white was measured on colours from 0 to 1. A
dark picture's mean is a tenth of white, and deviations of stained cells a twentieth.
"""


def colour_doubts(recipe: Recipe) -> tuple[str, ...]:
    """Return a warning for each kind of image whose numbers do not fit together.

    They are not certainly wrong: a network may have been trained that way.
    """
    images = dict.fromkeys(n.input for n in recipe.networks if isinstance(n.input, Images))
    return tuple(doubt for each in images for doubt in _doubts(each))


def _doubts(images: Images) -> Iterator[str]:
    white = WHITE * images.scale
    for name, values, nothing in (
        ("mean", images.mean, IDENTITY[0]),
        ("deviation", images.deviation, IDENTITY[1]),
    ):
        if values == nothing:
            continue
        told = f"{name} {_shown(values)} does not fit scale {images.scale:.4g}, "
        told += f"with which colours go from 0 to {white:.4g}: "
        if max(values) > white * 1.01:
            yield told + "was it measured on colours from 0 to 255? Then divide it by 255"
        elif max(values) * FAR < white:
            yield told + "was it measured on colours from 0 to 1? Then scale = 0.00392156862745098"


def _shown(values: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"

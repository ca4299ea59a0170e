"""Finds a recipe: one that comes with the software, or a file."""

from __future__ import annotations

from pathlib import Path

from edgeapl.errors import UsageError
from edgeapl.export.recipes import custom, eckardt2022, manescu2023, spatial_attention, yan2025
from edgeapl.export.recipes.recipe import Recipe
from edgeapl.export.recipes.segment_anything import other_segmenter

PUBLISHED = {
    "eckardt2022": eckardt2022.recipe,
    "manescu2023": manescu2023.recipe,
    "yan2025": yan2025.recipe,
    "spatial-attention": spatial_attention.recipe,
}


def find_recipe(name: str, segmenter: str | None = None) -> Recipe:
    """Return the recipe with this name, or the one in this TOML file.

    Parameters
    ----------
    segmenter : to use instead of the recipe's; in place of that of a file Segment Anything alone.

    Raises UsageError when there is none, ConfigError when the file is wrong.
    """
    if name in PUBLISHED:
        return PUBLISHED[name](segmenter)
    path = Path(name)
    if path.suffix == ".toml":
        finder = None if segmenter is None else other_segmenter(segmenter)
        if finder is not None and not finder.networks:
            raise UsageError("a recipe file names its own segmenter", "--segmenter", "set it there")
        return custom.recipe(path, finder)
    raise UsageError("no such recipe", name, f"name a TOML file or one of: {', '.join(PUBLISHED)}")

"""Find a recipe of training by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeapl.errors import UsageError
from edgeapl.export.training.choices import Choices
from edgeapl.export.training.recipe import TrainingRecipe
from edgeapl.export.training.recipes import (
    eckardt2022,
    eckardt2022_heads,
    manescu2023,
    mil_small,
    spatial_attention,
    yan2025,
    yan2025_system,
)
from edgeapl.export.training.system import System

TRAINED: Mapping[str, Callable[[], TrainingRecipe]] = {
    "mil-small": mil_small.recipe,
    "manescu2023": manescu2023.recipe,
    "spatial-attention": spatial_attention.recipe,
}

SYSTEMS: Mapping[str, System] = {
    "eckardt2022": System(eckardt2022.recipes, eckardt2022_heads.heads, eckardt2022_heads.write),
    "yan2025": System(yan2025.recipes, None, yan2025_system.write, yan2025.follow),
}
"""Systems of several networks, each of which is trained by itself."""


def find_parts(name: str, choices: Choices) -> tuple[TrainingRecipe, ...]:
    """Return the recipes of every network of a system that is to be trained.

    Raises UsageError when there is no such system, or it has no such choice.
    """
    if name in SYSTEMS:
        return SYSTEMS[name].recipes(choices)
    found = find_training(name)
    choices.check_none(name)
    return (found,)


def find_training(name: str) -> TrainingRecipe:
    """Return the recipe of this name. Raises UsageError when there is none."""
    if name not in TRAINED:
        raise UsageError("no such recipe", name, f"name one of: {', '.join((*TRAINED, *SYSTEMS))}")
    return TRAINED[name]()

"""Find a recipe of training by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeapl.errors import UsageError
from edgeapl.export.training.recipe import TrainingRecipe
from edgeapl.export.training.recipes import manescu2023, mil_small, spatial_attention

TRAINED: Mapping[str, Callable[[], TrainingRecipe]] = {
    "mil-small": mil_small.recipe,
    "manescu2023": manescu2023.recipe,
    "spatial-attention": spatial_attention.recipe,
}


def find_training(name: str) -> TrainingRecipe:
    """Return the recipe of this name. Raises UsageError when there is none."""
    if name not in TRAINED:
        raise UsageError("no such recipe", name, f"name one of: {', '.join(TRAINED)}")
    return TRAINED[name]()

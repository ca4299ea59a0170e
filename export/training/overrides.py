"""Changes that a user makes to a recipe's settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgeapl.export.training.recipe import TrainingRecipe
from edgeapl.export.training.settings import Settings


def changed(
    recipe: TrainingRecipe,
    *,
    seed: int,
    epochs: int | None = None,
    rate: float | None = None,
    bag: int | None = None,
    batch: int | None = None,
    patience: int | None = None,
    views: int | None = None,
) -> TrainingRecipe:
    """Return the recipe with other settings; None leaves its own.

    With a patience, a sixth of the patients decides when to stop where the recipe names no share.
    """
    given = {"epochs": epochs, "bag": bag, "batch": batch, "patience": patience, "views": views}
    settings = with_changes(recipe.settings, seed=seed, rate=rate, **given)
    if patience is not None and not settings.stopping:
        settings = replace(settings, stopping=1 / 6)
    return replace(recipe, settings=settings)


def with_changes(
    settings: Settings, *, rate: float | None = None, **numbers: int | None
) -> Settings:
    """Return settings with other numbers; None leaves one as it is, `rate` is the highest."""
    kept: dict[str, Any] = {name: one for name, one in numbers.items() if one is not None}
    if rate is not None:
        kept["rate"] = replace(settings.rate, peak=rate)
    return replace(settings, **kept)

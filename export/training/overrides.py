"""Changes that a user makes to a recipe's settings."""

from __future__ import annotations

from dataclasses import replace

from edgeapl.export.training.recipe import TrainingRecipe


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
    settings = recipe.settings
    given = {"epochs": epochs, "bag": bag, "batch": batch, "patience": patience, "views": views}
    kept = {name: value for name, value in given.items() if value is not None}
    settings = replace(settings, seed=seed, **kept)  # type: ignore[arg-type]
    if rate is not None:
        settings = replace(settings, rate=replace(settings.rate, peak=rate))
    if patience is not None and not settings.stopping:
        settings = replace(settings, stopping=1 / 6)
    return replace(recipe, settings=settings)

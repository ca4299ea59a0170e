"""A system of several networks: some judge cells, others judge slides by what those said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeapl.export.training.cell_pool import CellPool
from edgeapl.export.training.choices import Choices
from edgeapl.export.training.recipe import TrainingRecipe
from edgeapl.export.training.trainer import Trained


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A network that judges slides. pool : the cells of the slides that it learns from."""

    recipe: TrainingRecipe
    pool: CellPool


@dataclass(frozen=True, slots=True)
class System:
    """How the networks of a system are trained, one after another.

    recipes : of the networks of cells, for what a user chose.
    heads : made of these once they are trained, and of the label that is looked for; an InputError
        says why there are none. None where cells alone are judged.
    follow : changes a recipe by what was trained before it; None where networks learn apart.
    write : writes what the export takes of networks and heads into a folder; returns the words
        of its command after ``edgeapl export``.
    """

    recipes: Callable[[Choices], tuple[TrainingRecipe, ...]]
    heads: Callable[[Sequence[Trained], str], tuple[Head, ...]] | None
    write: Callable[[Sequence[Trained], Sequence[Trained], Path], tuple[str, ...]]
    follow: Callable[[TrainingRecipe, Sequence[Trained]], TrainingRecipe] | None = None

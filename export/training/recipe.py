"""What a recipe of training says: all choices for one system, as a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from edgeapl.bundle.specs import CropSpec
from edgeapl.export.recipes.recipe import Images
from edgeapl.export.training.augmentation import Augmentation
from edgeapl.export.training.labelled_set import LabelledImage
from edgeapl.export.training.objective import Objective
from edgeapl.export.training.settings import Settings
from edgeapl.export.training.training_data import TrainingData


@dataclass(frozen=True, slots=True)
class Classes:
    """Names in the order of a network's outputs.

    slides : of slides, or of images where these are judged; the last is the one looked for.
    cells : of single cells, where the network names them beside; empty otherwise.
    """

    slides: tuple[str, ...]
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BundleFiles:
    """What `edgeapl export` takes besides the weights.

    recipe : content of ``recipe.toml``; see `edgeapl.export.recipes.recipe_file`.
    model : ``model.py``, whose ``build()`` the recipe names.
    """

    recipe: Mapping[str, Any]
    model: str


@dataclass(frozen=True, slots=True)
class Range:
    """Values that a search may choose.

    low, high : both included. log : evenly by the logarithm. whole : integers alone.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """How one system is trained.

    name : as the command takes it. source : paper or place that it follows.
    judges : what has a truth: ``slides`` and their diagnoses; ``images``, each with the diagnosis
        of its slide; ``cells``, each with its own class.
    crop, segmenter, um_per_px : how cells are cut, as the bundle will.
    images : how the network wants its numbers.
    settings, augmentation : how it learns.
    build : gives the network for these classes. objective : what it is asked.
    bundle : gives what the export needs; None for a part that is exported with others alone.
    cell_classes : names of a cohort's cell classes, in small letters, to the network's; a class
        that is not named here is unknown. cell_order : the network's, in its order.
    other : what cells of all further classes are; empty where they are unknown.
    classify : class of a cell by its own name and its patient's diagnosis, where the name alone
        does not say it; replaces `cell_classes` and `other`.
    form : numbers of the architecture that can be chosen, by name.
    space : what a search may choose, by name. variant : gives a recipe with such values.
    """

    name: str
    source: str
    judges: Literal["slides", "images", "cells"]
    crop: CropSpec
    segmenter: str
    um_per_px: float
    images: Images
    settings: Settings
    augmentation: Augmentation
    build: Callable[[Classes], nn.Module]
    objective: Callable[[TrainingData], Objective]
    bundle: Callable[[Classes], BundleFiles] | None
    cell_classes: Mapping[str, str] = field(default_factory=dict)
    cell_order: tuple[str, ...] = ()
    other: str = ""
    classify: Callable[[LabelledImage], str] | None = None
    form: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Range] = field(default_factory=dict)
    variant: Callable[[TrainingRecipe, Mapping[str, float]], TrainingRecipe] | None = None

    def class_of(self, image: LabelledImage) -> str:
        """Return the network's class for the cell in an image; empty if it is unknown."""
        if self.classify is not None:
            return self.classify(image)
        name = image.cell_class
        return self.cell_classes.get(name.casefold(), self.other if name else "")


def output_names(labels: Sequence[str]) -> list[str]:
    """Return names for a network's outputs that say what labels say: no two are the same."""
    names: list[str] = []
    for label in labels:
        plain = re.sub(r"[^A-Za-z0-9]+", "_", label).strip("_")[:40] or "label"
        names.append(plain if plain not in names else f"{plain}_{len(names) + 1}")
    return names

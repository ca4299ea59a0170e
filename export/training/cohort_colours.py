"""Colours of one cohort brought to those of another before a network learns (Reinhard 2001).

Manescu et al. 2023: "A color transfer approach was applied to reduce the color variation between
the two datasets." The bundle gets the same setting, so that a station does what the training did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from edgeapl.bundle.specs import CropSpec
from edgeapl.export.proof_images import ProofImages
from edgeapl.export.target_colours import moved_to
from edgeapl.export.training.cell_pool import finder_of
from edgeapl.export.training.recipe import BundleFiles, Classes, TrainingRecipe


def recoloured(recipe: TrainingRecipe, images: ProofImages) -> TrainingRecipe:
    """Return the recipe with cells brought to the colours of images, in training and in the bundle.

    Raises InputError when no image shows a cell with a spread of colours.
    """
    moved = moved_to(
        images,
        finder_of(recipe.segmenter),
        leave_out=recipe.crop.leave_out,
        assumed_um_per_px=recipe.um_per_px,
    )
    crop = CropSpec.model_validate({**recipe.crop.model_dump(), **moved})
    bundle = None if recipe.bundle is None else partial(_files, recipe, moved)
    return replace(recipe, crop=crop, bundle=bundle)


def _files(recipe: TrainingRecipe, moved: Mapping[str, Any], classes: Classes) -> BundleFiles:
    assert recipe.bundle is not None
    files = recipe.bundle(classes)
    settings = {**files.recipe, "images": {**files.recipe["images"], **moved}}
    return replace(files, recipe=settings)

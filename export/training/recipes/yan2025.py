"""`yan2025`: seven networks in a tree, each learning from fine patches to the whole cell.

Yan et al. 2025, Cancer Science 116:533, "Deep learning model and training": "Stochastic Gradient
Descent (SGD) optimizer, with a learning rate set of 1e-4, a weight decay parameter of 5e-5, and a
total of 150 training iterations", taken as epochs; "initialized with the Xavier initialization";
Fig. 2: "four steps at each iteration". "All cell images belonging to a subject are split into the
training set or the test set", 80 to 20: ``--folds 5``. "The output of the last stage PMG is used
for the next stage PMG loss calculation": it does not say how. Here a cell weighs as much in a
stage's loss as the stage before is sure that it belongs there, so that a cell which would not be
shown to a network does not teach it.

"Image rotation, cropping, and color jittering", without numbers: turned by any angle, mirrored,
moved by as much as Du et al. 2020 do when they take 448 of 550 px at random, hue by 0.05 of the
circle, light by 0.15. The paper does so for classes that are rare; here all cells are changed, and
weigh alike: of balancing by over- or undersampling it says that "the improvements were minor".

Where the paper is silent: momentum 0.9, batches of 16. Masks are those of the segmenter that the
bundle will have; Segment Anything draws none in training.

In a cross-validation a stage is guided by networks that did not learn from the cell's own patient,
but may have learned from patients whom its fold tests: they weigh losses, and judge nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from torch import nn

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.specs import CropSpec
from edgeapl.errors import UsageError
from edgeapl.export.architectures.pmg import SIDE, Pmg
from edgeapl.export.recipes.recipe import Images
from edgeapl.export.recipes.yan2025 import RESIZED, STAGES, WINDOW_UM
from edgeapl.export.training.augmentation import Augmentation
from edgeapl.export.training.choices import Choices
from edgeapl.export.training.image_objective import ImageObjective
from edgeapl.export.training.jigsaw import JigsawObjective, answer
from edgeapl.export.training.leukaemia_tree import PARENT, STAGE_OF, LeukaemiaTree
from edgeapl.export.training.plan import data_of
from edgeapl.export.training.recipe import TrainingRecipe
from edgeapl.export.training.recipes.mil_small import CROP as OF_SMALL
from edgeapl.export.training.recipes.yan2025_system import NORM, SUSPICIOUS, UM_PER_PX, alone
from edgeapl.export.training.settings import Rate, Settings
from edgeapl.export.training.trainer import Trained
from edgeapl.export.training.training_data import UNKNOWN, TrainingData
from edgeapl.types import Float32
from edgeapl.wording.printable import printable

NAME = "yan2025"
SMALLEST, LARGEST, STEP = 64, 512, 32
"""Sides of a cell, px: the finest step has 8 x 8 patches, the trunk halves a side five times."""


def recipes(choices: Choices) -> tuple[TrainingRecipe, ...]:
    """Return a recipe per stage that is to be trained, parents first.

    Raises UsageError for a choice that no network can have.
    """
    known = [name for name, _, _ in STAGES]
    unknown = sorted(set(choices.parts) - set(known))
    if unknown:
        mend = f"name one of: {', '.join(known)}"
        raise UsageError("--part names no network", printable(unknown[0]), mend)
    if choices.hidden:
        mend = "leave it away: the classifiers are as published"
        raise UsageError(f"{NAME} has no such choice", "--hidden", mend)
    size = SIDE if choices.size is None else choices.size
    if not SMALLEST <= size <= LARGEST or size % STEP:
        mend = f"give {SMALLEST} to {LARGEST} px, a multiple of {STEP}"
        raise UsageError("size of a cell", f"{size} px", mend)
    tree = LeukaemiaTree(choices.cells)
    return tuple(
        stage(name, classes, size, tree)
        for name, classes, _ in STAGES
        if name in choices.parts or not choices.parts
    )


def stage(name: str, classes: tuple[str, ...], size: int, tree: LeukaemiaTree) -> TrainingRecipe:
    """Return the recipe of one network. size : side of its cells, px."""
    crop = CropSpec(
        window_um=WINDOW_UM,
        size_px=size,
        resized_px=round(RESIZED * size / SIDE),
        cell_image_cut="square",
        mask=True,
        leave_out=OF_SMALL.leave_out,
    )
    return TrainingRecipe(
        name=f"{NAME}-{name}",
        source="Yan et al. 2025, Cancer Science 116:533-543, doi 10.1111/cas.16374",
        judges="cells",
        crop=crop,
        segmenter="hsv-watershed",
        um_per_px=UM_PER_PX,
        images=Images(size, size, mean=NORM, deviation=NORM),
        settings=Settings(epochs=150, rate=Rate(1e-4), weight_decay=5e-5, batch=16, balanced=False),
        augmentation=Augmentation(shift=(RESIZED - SIDE) / 2 / SIDE, hue=0.05, light=0.15),
        build=lambda learned: _drawn(Pmg(len(learned.slides), trunk_classes=None)),
        objective=partial(_objective, None),
        bundle=partial(alone, name, crop) if name == SUSPICIOUS else None,
        cell_order=classes,
        classify=partial(tree.class_in, name),
        form={"patches": "jigsaw"},
    )


def follow(recipe: TrainingRecipe, before: Sequence[Trained]) -> TrainingRecipe:
    """Return a stage's recipe with its cells weighed by the stage before, if that was trained."""
    parent = PARENT.get(recipe.name.removeprefix(f"{NAME}-"))
    stages = {STAGE_OF[each.recipe.cell_order[0]]: each for each in before}
    if parent is None or STAGE_OF[parent] not in stages:
        return recipe
    guide = guide_of(stages[STAGE_OF[parent]], parent)
    form = {**recipe.form, "guided by": sha256(guide.tobytes())}
    return replace(recipe, objective=partial(_objective, guide), form=form)


def guide_of(parent: Trained, name: str) -> Float32:
    """Return the probability of a class that a trained stage gives every cell, float32 (N,).

    By the mean of the folds that did not learn from a cell's patient; where there are none by the
    network for use; 0 for a cell that the stage knows nothing of.
    """
    column = parent.classes.slides.index(name)
    sums, times = np.zeros((2, len(parent.pool)))
    for said in (one.tested for one in parent.rounds if one.tested is not None):
        sums[said.cells] += said.probabilities[:, column]
        times[said.cells] += 1
    data = data_of(parent.recipe, parent.pool, parent.classes, parent.device)
    rest = np.flatnonzero((times == 0) & (data.truth != UNKNOWN))
    if len(rest):
        with parent.device.used():
            objective = parent.recipe.objective(replace(data, train=rest))
            said = objective.predict(parent.module, rest)
        sums[rest], times[rest] = said.probabilities[:, column], 1
    return np.asarray(sums / np.maximum(times, 1), dtype=np.float32)


def _objective(guide: Float32 | None, data: TrainingData) -> JigsawObjective:
    weights = np.ones(len(data.pool), dtype=np.float32) if guide is None else guide
    return JigsawObjective(ImageObjective(data, answer, alone=True), weights)


def _drawn(module: Pmg) -> Pmg:
    """Draw the weights after Glorot and Bengio 2010 ("Xavier"), from torch's own seed."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return module

"""`eckardt2022`: three binary networks that tell what single cells are.

Eckardt et al. 2022, BMC Cancer, "Cell labeling and cell-level classification": "fit the labels
'myeloblast' and 'non-myeloblast' to each cell", and so for promyelocytes and Auer rods, "based on
the Xception CNN", with "between one and three fully connected layers with dropout" that "differed
between individual models"; "linear transformations, color shift and brightness adjustment ... to
increase sample size and balance samples"; threefold cross-validation without "patients ... crossing
between training and test set" (``--folds 3``). Of a cell the paper asks each question by itself, so
every network is trained by itself, and a cell of any further class is an example of what is not
looked for.

Where the paper is silent: Adam with 0.001 (the default of Keras, which it used) along a cosine, 20
epochs, batches of 32, one fully connected layer; dropout 0.4, between the 0.32 and 0.46 that it
prints for its ensembles. "Transfer learning" is ``--init``, with weights of Xception under the
names of its PyTorch port. Balanced means that both sides are drawn equally often, each time
changed anew. Turned by any angle, mirrored, zoomed by up to 0.1, moved by 0.05, hue by 0.05 of the
circle, light by 0.15. Smaller cells (``--size``) than 299 px are the same 20 µm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from edgeapl.bundle.specs import CropSpec
from edgeapl.errors import UsageError
from edgeapl.export.architectures.initialise import initialise
from edgeapl.export.architectures.xception import Xception
from edgeapl.export.recipes.constants import GATE, RESEARCH, rule
from edgeapl.export.recipes.eckardt2022 import ROLES, SIDE, SUSPICIOUS, UM_PER_PX
from edgeapl.export.recipes.recipe import Images
from edgeapl.export.training.augmentation import Augmentation
from edgeapl.export.training.choices import Choices
from edgeapl.export.training.image_objective import ImageObjective
from edgeapl.export.training.recipe import BundleFiles, Classes, Range, TrainingRecipe
from edgeapl.export.training.recipes.mil_small import CROP as OF_SMALL
from edgeapl.export.training.settings import Rate, Settings
from edgeapl.export.training.training_data import TrainingData
from edgeapl.wording.printable import printable

NAME = "eckardt2022"
DROPOUT = 0.4
MOST_HIDDEN = 2
"""With the last one, three fully connected layers."""

SMALLEST, LARGEST = 64, 512
"""Sides of a cell, px: below, the exit flow of Xception sees one position."""

SPACE = {
    "rate": Range(1e-4, 1e-2, log=True),
    "dropout": Range(0.2, 0.6),
    "layers": Range(1, MOST_HIDDEN + 1, whole=True),
    "width": Range(64, 1024, log=True, whole=True),
}
"""What ``--search`` looks for, as the paper's "predefined hyperparameter space" is not printed:
rate, dropout, number of fully connected layers, and width of those before the last."""

FOLDERS: Mapping[str, tuple[str, ...]] = {
    "myeloblast": (
        *("myeloblast", "myeloblasts", "blast", "blasts", "blast_no_lineage_spec"),
        *("myo", "bla"),
    ),
    "promyelocyte": (
        *("promyelocyte", "promyelocytes", "promyelocyte_bilobed", "faggot_cell", "faggot_cells"),
        *("pmo", "pmb", "fgc"),
    ),
    "auer_rod": ("auer_rod", "auer_rods", "faggot_cell", "faggot_cells", "fgc"),
}
"""Question to the names that public cohorts have for such cells; faggot cells are promyelocytes
with bundles of Auer rods. The codes are those of the cohorts of Munich."""

MODEL = '''"""A network of cells of a trained `eckardt2022`; recipe.toml names it."""

from edgeapl.export.architectures.xception import Xception


def build() -> Xception:
    return Xception({hidden})
'''


def recipes(choices: Choices) -> tuple[TrainingRecipe, ...]:
    """Return a recipe per question that is to be trained.

    Raises UsageError for a choice that no network can have.
    """
    for option, names in (("--part", choices.parts), ("--cells", tuple(choices.cells))):
        for name in names:
            if name not in ROLES:
                mend = f"name one of: {', '.join(ROLES)}"
                raise UsageError(f"{option} names no network", printable(name), mend)
    size = SIDE if choices.size is None else choices.size
    if not SMALLEST <= size <= LARGEST:
        raise UsageError("size of a cell", f"{size} px", f"give {SMALLEST} to {LARGEST} px")
    if len(choices.hidden) > MOST_HIDDEN:
        mend = f"give {MOST_HIDDEN} at most: with the last one they are three"
        raise UsageError("too many --hidden layers", str(len(choices.hidden)), mend)
    return tuple(
        cells(name, size, choices.hidden, choices.cells.get(name, FOLDERS[name]))
        for name in ROLES
        if name in choices.parts or not choices.parts
    )


def cells(
    question: str,
    size: int = SIDE,
    hidden: tuple[int, ...] = (),
    folders: tuple[str, ...] = (),
    dropout: float = DROPOUT,
) -> TrainingRecipe:
    """Return the recipe of one question's network.

    Parameters
    ----------
    question : one of `ROLES`. size : side of its cells, px.
    hidden : widths of fully connected layers before the last; two at most.
    folders : the cohort's names of such cells; all other names are what is not looked for.
    dropout : rate before each fully connected layer.
    """
    crop = CropSpec(
        window_um=round(SIDE * UM_PER_PX, 3),
        size_px=size,
        cell_image_cut="square",
        leave_out=OF_SMALL.leave_out,
    )
    other = f"not_{question}"
    return TrainingRecipe(
        name=f"{NAME}-{question.replace('_', '-')}",
        source="Eckardt et al. 2022, BMC Cancer 22:201, doi 10.1186/s12885-022-09307-8",
        judges="cells",
        crop=crop,
        segmenter="hsv-watershed",
        um_per_px=round(UM_PER_PX, 5),
        images=Images(size, size, scale=1 / 127.5, mean=(1.0, 1.0, 1.0)),
        settings=Settings(epochs=20, rate=Rate(0.001, "cosine"), optimiser="adam", batch=32),
        augmentation=Augmentation(zoom=0.1, shift=0.05, hue=0.05, light=0.15),
        build=_builder(hidden, dropout),
        objective=_objective,
        bundle=partial(_bundle, question, crop, hidden, folders),
        cell_classes=dict.fromkeys((name.casefold() for name in folders), question),
        cell_order=(other, question),
        other=other,
        form={"hidden": list(hidden), "dropout": dropout},
        space=SPACE,
        variant=partial(_variant, question, crop, folders),
    )


def _variant(
    question: str,
    crop: CropSpec,
    folders: tuple[str, ...],
    recipe: TrainingRecipe,
    values: Mapping[str, float],
) -> TrainingRecipe:
    """Return the recipe with values of `SPACE`."""
    hidden = (int(values["width"]),) * (int(values["layers"]) - 1)
    rate = replace(recipe.settings.rate, peak=values["rate"])
    return replace(
        recipe,
        settings=replace(recipe.settings, rate=rate),
        build=_builder(hidden, values["dropout"]),
        bundle=partial(_bundle, question, crop, hidden, folders),
        form={"hidden": list(hidden), "dropout": values["dropout"]},
    )


def _builder(hidden: tuple[int, ...], dropout: float) -> Callable[[Classes], nn.Module]:
    return lambda classes: drawn(Xception(hidden, dropout=dropout))


def drawn(module: Xception) -> Xception:
    """Draw the weights after He et al. 2015, from the seed that torch was given last."""
    initialise(module, torch.initial_seed())
    return module


def _objective(data: TrainingData) -> ImageObjective:
    return ImageObjective(data, answer, even=True, alone=True)


def answer(module: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits (N, 2), of which the first is 0, and features.

    So softmax of both is the logistic function of the network's one logit.
    """
    features, logit = module(images)
    return torch.stack((torch.zeros_like(logit), logit), 1), features


def _bundle(
    question: str,
    crop: CropSpec,
    hidden: tuple[int, ...],
    folders: tuple[str, ...],
    classes: Classes,
) -> BundleFiles:
    settings = {
        "name": f"{NAME}-{question.replace('_', '-')}",
        "intended_use": f"Share of cells of the class {question}, by a network trained here. "
        + RESEARCH,
        "about": f"Trained by `edgeapl train {NAME}`: one of three networks of cells. A cell is "
        f"of the class {question} where the cohort calls it {', '.join(folders)}.",
        "um_per_px": round(UM_PER_PX, 5),
        "images": {
            **crop.model_dump(mode="json", exclude_none=True),
            "scale": 1 / 127.5,
            "mean": [1.0, 1.0, 1.0],
        },
        "networks": {
            question: {
                "weights": "model",
                "factory": "model.py:build",
                "outputs": ["-", "logit"],
                "sigmoid": {"logit": [question]},
            }
        },
        "roles": [
            {
                "name": question,
                "network": question,
                "output": question,
                "threshold": 0.5,
                "suspicious": question in SUSPICIOUS,
            }
        ],
        "reducer": {"kind": "vote"},
        "rule": rule(),
        "gate": GATE,
    }
    return BundleFiles(settings, MODEL.format(hidden=repr(hidden)))

"""`mil-small`: patients' diagnoses and cells' classes together, in minutes on two cores.

No paper: a network for a laboratory without a GPU. A cell is shown as CellaVision cuts it, made
144 px wide, of which the middle 128 are taken. Trained with patients' labels (the bag's largest and
mean features, after Ilse et al. 2018 on pooling) and, where the folders name cells, with their
classes too (weight 1): docs/training.md has what either gives alone. Folders of smudge cells and of
thrombocytes are left out, as they hold no cell that could be judged.
"""

from __future__ import annotations

from typing import Any

from edgeapl.bundle.specs import CropSpec
from edgeapl.export.architectures.mil_small import CELL_CLASSES, FEATURES, SIDE, MilSmall
from edgeapl.export.recipes.constants import GATE, RESEARCH
from edgeapl.export.recipes.recipe import Images
from edgeapl.export.training.augmentation import Augmentation
from edgeapl.export.training.bag_objective import BagObjective
from edgeapl.export.training.recipe import BundleFiles, Classes, TrainingRecipe, output_names
from edgeapl.export.training.settings import Rate, Settings

CROP = CropSpec(
    window_um=36.0,
    size_px=SIDE,
    resized_px=144,
    cut="window",
    cell_image_cut="square",
    leave_out=("Smudge_cells", "Thrombocyte_aggregation", "Giant_thrombocyte"),
)

OF_FOLDER = {
    "promyelocyte": ("promyelocyte", "promyelocytes"),
    "blast": ("blast", "blasts", "blast_no_lineage_spec", "myeloblast", "monoblast"),
    "granulocyte": (
        *("segmented_neutrophils", "band_neutrophils", "metamyelocyte", "myelocyte"),
        *("immature_granulocyte", "eosinophils", "basophils"),
        *("neutrophil", "eosinophil", "basophil"),
    ),
    "lymphocyte": (
        *("lymphocyte", "lymphocyte_variant", "large_granular_lymphocyte", "prolymphocyte"),
        "plasma_cells",
    ),
    "monocyte": ("monocyte", "monocytes"),
    "other": (
        *("erythroblast", "megakaryocyte", "artefact", "artifact"),
        *("unidentified", "young_unidentified", "other"),
    ),
}
"""Network's class to the names of CellaVision and of public sets."""

MODEL = '''"""The network of a trained `mil-small`; recipe.toml names it."""

from edgeapl.export.architectures.mil_small import MilSmall


def build() -> MilSmall:
    return MilSmall(classes={slides})
'''


def recipe() -> TrainingRecipe:
    """Return the recipe."""
    return TrainingRecipe(
        name="mil-small",
        source="own network, patients' labels and cell classes",
        judges="slides",
        crop=CROP,
        segmenter="hsv-watershed",
        um_per_px=0.1,
        images=Images(SIDE, SIDE),
        settings=Settings(
            epochs=40,
            rate=Rate(2e-3, "cosine"),
            optimiser="adamw",
            weight_decay=0.05,
            clip=5.0,
            bag=16,
            batch=4,
        ),
        augmentation=Augmentation(
            zoom=0.15, shift=0.05, hue=0.03, gamma=0.3, stain=0.35, light=0.1, noise=0.03, blur=0.2
        ),
        build=lambda classes: MilSmall(len(classes.slides)),
        objective=lambda data: BagObjective(data, cell_share=1.0),
        bundle=_bundle,
        cell_classes={name: one for one, names in OF_FOLDER.items() for name in names},
        cell_order=CELL_CLASSES,
    )


def _bundle(classes: Classes) -> BundleFiles:
    names = output_names(classes.slides)
    network = {"weights": "model", "factory": "model.py:build"}
    named, roles = _cells(classes, names, network)
    settings = {
        "name": "mil-small",
        "intended_use": f"Detection of {classes.slides[-1]} by a network trained here. {RESEARCH}",
        "about": "Trained by `edgeapl train mil-small` with patients' diagnoses"
        + (" and cell classes." if classes.cells else "."),
        "um_per_px": 0.1,
        "features": "cells.features",
        "images": CROP.model_dump(mode="json", exclude_none=True),
        "networks": {
            **named,
            "head": {
                **network,
                "part": "slide_head",
                "takes": [2 * FEATURES],
                "outputs": ["slide_logits"],
                "softmax": {"slide_logits": names},
            },
        },
        "roles": roles,
        "reducer": {"kind": "max-mean", "head": "head", "head_outputs": [names[-1]]},
        # Pooled features give no interval, so only what is far below is cleared.
        "rule": {"flag_at": 0.5, "clear_below": 0.1, "min_scored": 20, "max_lost_share": 0.1},
        "gate": GATE,
    }
    return BundleFiles(settings, MODEL.format(slides=len(classes.slides)))


def _cells(
    classes: Classes, names: list[str], network: dict[str, str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the networks that judge single cells, and their roles.

    Cells that nobody named in training are judged by what their slide would get if it had that
    cell alone. The slide's logits of a batch of cells mean nothing.
    """
    shared = {"threshold": 0.5}
    if not classes.cells:
        encoder = {**network, "outputs": ["-", "features", "-"]}
        alone = {
            **network,
            "part": "judge_alone",
            "takes": [FEATURES],
            "outputs": ["cell_logits"],
            "softmax": {"cell_logits": names},
            "after": "cells.features",
        }
        sought = {"name": "sought_cell", "network": "alone", "output": names[-1]}
        return {"cells": encoder, "alone": alone}, [{**sought, **shared, "suspicious": True}]
    cells = {
        **network,
        "outputs": ["cell_logits", "features", "-"],
        "softmax": {"cell_logits": list(classes.cells)},
    }
    roles = [
        {
            "name": name,
            "network": "cells",
            "output": name,
            **shared,
            "suspicious": name == "promyelocyte",
        }
        for name in classes.cells
    ]
    return {"cells": cells}, roles

"""`mil-small`: patients' diagnoses and cells' classes together, in minutes on two cores.

No paper: a network for a laboratory without a GPU. A cell is shown as CellaVision cuts it, made
144 px wide, of which the middle 128 are taken. Trained with patients' labels (the bag's largest and
mean features, after Ilse et al. 2018 on pooling) and, where the folders name cells, with their
classes too (weight 1): docs/training.md has what either gives alone. Folders of smudge cells and of
thrombocytes are left out, as they hold no cell that could be judged.
"""

from __future__ import annotations

from edgeapl.bundle.specs import CropSpec
from edgeapl.export.architectures.mil_small import CELL_CLASSES, SIDE, MilSmall
from edgeapl.export.recipes.constants import GATE, RESEARCH
from edgeapl.export.recipes.recipe import Images
from edgeapl.export.training.augmentation import Augmentation
from edgeapl.export.training.bag_objective import BagObjective
from edgeapl.export.training.recipe import BundleFiles, Classes, TrainingRecipe
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
        *("eosinophils", "basophils", "neutrophil", "eosinophil", "basophil"),
    ),
    "lymphocyte": ("lymphocyte", "lymphocyte_variant", "plasma_cells", "large_granular_lymphocyte"),
    "monocyte": ("monocyte", "monocytes"),
    "other": ("erythroblast", "unidentified", "artefact", "artifact", "other"),
}
"""Network's class to the names of CellaVision and of public sets."""

MODEL = '''"""The network of a trained `mil-small`; recipe.toml names it."""

from edgeapl.export.architectures.mil_small import MilSmall


def build() -> MilSmall:
    return MilSmall(classes={slides}, cell_classes={cells})
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
        build=lambda classes: MilSmall(len(classes.slides), len(classes.cells)),
        objective=lambda data: BagObjective(data, cell_share=1.0),
        bundle=_bundle,
        cell_classes={name: one for one, names in OF_FOLDER.items() for name in names},
        cell_order=CELL_CLASSES,
    )


def _bundle(classes: Classes) -> BundleFiles:
    sought = classes.slides[-1]
    network = {"weights": "model", "factory": "model.py:build"}
    settings = {
        "name": "mil-small",
        "intended_use": f"Detection of {sought} by a network trained here. {RESEARCH}",
        "about": "Trained by `edgeapl train mil-small` with patients' diagnoses and cell classes.",
        "um_per_px": 0.1,
        "features": "cells.features",
        "images": CROP.model_dump(mode="json", exclude_none=True),
        "networks": {
            "cells": {
                **network,
                # The slide's logits of a batch of cells mean nothing.
                "outputs": ["cell_logits", "features", "-"],
                "softmax": {"cell_logits": list(classes.cells)},
            },
            "head": {
                **network,
                "part": "slide_head",
                "takes": [256],
                "outputs": ["slide_logits"],
                "softmax": {"slide_logits": list(classes.slides)},
            },
        },
        "roles": [
            {
                "name": name,
                "network": "cells",
                "output": name,
                "threshold": 0.5,
                "suspicious": name == "promyelocyte",
            }
            for name in classes.cells
        ],
        "reducer": {"kind": "max-mean", "head": "head", "head_outputs": [sought]},
        # Pooled features give no interval, so only what is far below is cleared.
        "rule": {"flag_at": 0.5, "clear_below": 0.1, "min_scored": 20, "max_lost_share": 0.1},
        "gate": GATE,
    }
    return BundleFiles(settings, MODEL.format(slides=len(classes.slides), cells=len(classes.cells)))

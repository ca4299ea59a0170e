"""`spatial-attention`: which fusion gene an APL has, from whole fields of bone marrow.

"CNN with spatial attention": cross-entropy, Adam, a rate that is "halved every certain number of
epochs" (model construction); images resized to one size and normalised, "split into a training set
(50%) and a test set (50%)" with shuffled batches (data preprocessing); accuracy, confusion matrix
and multi-class ROC curves of the test set (model evaluation). ``--folds 2`` gives that split, both
ways; unlike the paper's, which parts images, it parts patients.

Where the paper is silent: rate 0.001, halved every 10 of 50 epochs, batches of 16, 224 x 224 px,
colours from -1 to 1. It names no augmentation and no class weights: turns, mirrors and a little
colour are added here, as 12 images of a class are learned by heart, and classes weigh alike, 509
images to 12.
"""

from __future__ import annotations

import torch
from torch import nn

from edgeapl.bundle.specs import CropSpec
from edgeapl.export.architectures.spatial_attention import SIDE, SpatialAttention
from edgeapl.export.recipes.constants import GATE, RESEARCH, rule
from edgeapl.export.recipes.recipe import Images
from edgeapl.export.training.augmentation import Augmentation
from edgeapl.export.training.image_objective import ImageObjective
from edgeapl.export.training.recipe import BundleFiles, Classes, TrainingRecipe, output_names
from edgeapl.export.training.settings import Rate, Settings
from edgeapl.export.training.training_data import TrainingData

CROP = CropSpec(window_um=20.0, size_px=SIDE, cut="box", cell_image_cut="box")
HALF = (0.5, 0.5, 0.5)

MODEL = '''"""The network of a trained `spatial-attention`; recipe.toml names it."""

from edgeapl.export.architectures.spatial_attention import SpatialAttention


def build() -> SpatialAttention:
    return SpatialAttention(classes={slides})
'''


def recipe() -> TrainingRecipe:
    """Return the recipe."""
    return TrainingRecipe(
        name="spatial-attention",
        source="CNN with spatial attention, APL fusion gene subtypes",
        judges="images",
        crop=CROP,
        segmenter="field",
        um_per_px=0.1,
        images=Images(SIDE, SIDE, mean=HALF, deviation=HALF),
        settings=Settings(
            epochs=50, rate=Rate(0.001, "halved", every=10), optimiser="adam", batch=16
        ),
        augmentation=Augmentation(hue=0.02, light=0.1),
        build=lambda classes: SpatialAttention(len(classes.slides)),
        objective=_objective,
        bundle=_bundle,
    )


def _objective(data: TrainingData) -> ImageObjective:
    return ImageObjective(data, _answer)


def _answer(module: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits and, as features, the pooled map that they are made of."""
    kept: list[torch.Tensor] = []
    hook = module.fc.register_forward_pre_hook(lambda _, given: kept.append(given[0].detach()))
    logits, _ = module(images)
    hook.remove()
    return logits, kept[0]


def _bundle(classes: Classes) -> BundleFiles:
    names = output_names(classes.slides)
    settings = {
        "name": "spatial-attention",
        "intended_use": f"Kind of a known APL, by a network trained here. {RESEARCH}",
        "about": "Trained by `edgeapl train spatial-attention`. It knows these classes alone.",
        "answers": "subtype",
        "um_per_px": 0.1,
        "images": {
            **CROP.model_dump(mode="json", exclude_none=True),
            "mean": list(HALF),
            "deviation": list(HALF),
        },
        "segmenter": {"kind": "field"},
        "networks": {
            "network": {
                "weights": "model",
                "factory": "model.py:build",
                "outputs": ["logits", "-"],
                "softmax": {"logits": names},
            }
        },
        "roles": [
            {
                "name": f"is_{name.lower()}",
                "network": "network",
                "output": name,
                "threshold": 0.5,
            }
            for name in names
        ],
        "reducer": {"kind": "vote"},
        "rule": rule(min_scored=1),
        "gate": GATE,
    }
    return BundleFiles(settings, MODEL.format(slides=len(classes.slides)))

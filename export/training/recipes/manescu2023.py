"""`manescu2023`: APL from the diagnoses of slides alone (MILLIE).

Manescu et al. 2023, Scientific Reports, "Network architecture and training details": bags of "up to
fifty image patches", drawn anew at each iteration; "random rotations and random flips", "random hue
modification, random gamma corrections, random noise", "the same augmentations ... during testing";
stochastic gradient descent with a rate of 0.0003, cross-entropy, "maximum 100 epochs (or early
stopping)"; the convolutions start from VGG-19 of ImageNet (``--init``; torchvision's names fit).
A cell's own score is what its slide would get if it had that cell alone.

Where the paper is silent: one bag a step ("per sample for each iteration"), momentum 0.9, no
weight decay, a rate that stays; a sixth of the patients decides when to stop, after 10 epochs
without a better loss; classes weigh alike (72 to 33 in the paper's Fig. 4); hue by up to 0.05 of
the circle, gamma by up to 2 ** 0.5 and its inverse, noise of up to 0.04; four augmented passes are
averaged in a test. CellaVision's images of 36 µm are shown as their middle 12.8 µm of 200 px where
cells come from frames, and whole where every image is one cell.
"""

from __future__ import annotations

import torch

from edgeapl.bundle.specs import CropSpec
from edgeapl.export.architectures.initialise import initialise
from edgeapl.export.architectures.vgg19 import SIDE, Millie, feature_length
from edgeapl.export.recipes.constants import GATE, RESEARCH
from edgeapl.export.recipes.manescu2023 import UM_PER_PX
from edgeapl.export.recipes.recipe import IMAGENET, Images
from edgeapl.export.training.augmentation import Augmentation
from edgeapl.export.training.bag_objective import BagObjective
from edgeapl.export.training.recipe import BundleFiles, Classes, TrainingRecipe, output_names
from edgeapl.export.training.settings import Rate, Settings

CROP = CropSpec(window_um=12.8, size_px=SIDE, cell_image_cut="square")

MODEL = '''"""The network of a trained `manescu2023`; recipe.toml names it."""

from edgeapl.export.architectures.vgg19 import Millie


def build() -> Millie:
    return Millie(classes={slides})
'''


def recipe() -> TrainingRecipe:
    """Return the recipe."""
    mean, deviation = IMAGENET
    return TrainingRecipe(
        name="manescu2023",
        source="Manescu et al. 2023, Scientific Reports, doi 10.1038/s41598-023-29160-4",
        judges="slides",
        crop=CROP,
        segmenter="hsv-watershed",
        um_per_px=UM_PER_PX,
        images=Images(SIDE, SIDE, mean=mean, deviation=deviation),
        settings=Settings(
            epochs=100,
            rate=Rate(0.0003),
            optimiser="sgd",
            patience=10,
            stopping=1 / 6,
            bag=50,
            batch=1,
            views=4,
        ),
        augmentation=Augmentation(hue=0.05, gamma=0.5, noise=0.04),
        build=lambda classes: drawn(Millie(classes=len(classes.slides))),
        objective=BagObjective,
        bundle=_bundle,
    )


def drawn(module: Millie) -> Millie:
    """Draw the weights after He et al. 2015: those of torch fade away in 16 layers without norms.

    They are those of the seed that torch was given last.
    """
    initialise(module, torch.initial_seed())
    return module


def _bundle(classes: Classes) -> BundleFiles:
    names = output_names(classes.slides)
    mean, deviation = IMAGENET
    network = {"weights": "model", "factory": "model.py:build"}
    settings = {
        "name": "manescu2023",
        "intended_use": f"Detection of {classes.slides[-1]} by a network trained here. {RESEARCH}",
        "about": "Trained by `edgeapl train manescu2023` with the diagnoses of slides alone.",
        "um_per_px": UM_PER_PX,
        "features": "encoder.features",
        "images": {
            **CROP.model_dump(mode="json", exclude_none=True),
            "mean": list(mean),
            "deviation": list(deviation),
        },
        "networks": {
            "encoder": {**network, "part": "encode", "outputs": ["features"]},
            "head": {
                **network,
                "part": "classifier",
                "takes": [feature_length(SIDE)],
                "outputs": ["logits"],
                "softmax": {"logits": names},
                "after": "encoder.features",
            },
        },
        "roles": [
            {
                "name": "sought_cell",
                "network": "head",
                "output": names[-1],
                "threshold": 0.5,
                "suspicious": True,
            }
        ],
        "reducer": {"kind": "max", "head": "head", "head_outputs": [names[-1]]},
        # Pooled features give no interval, so only what is far below is cleared.
        "rule": {"flag_at": 0.5, "clear_below": 0.1, "min_scored": 50, "max_lost_share": 0.1},
        "gate": GATE,
        "explanation": {"kind": "contributions", "title": "Cells that made the answer"},
    }
    return BundleFiles(settings, MODEL.format(slides=len(classes.slides)))

"""Manescu et al. 2023, Scientific Reports (MILLIE): APL from blood and marrow by slide labels.

Classical segmentation on saturation; tiles of 200x200 px (12.8 µm) around each nucleus' centre; the
convolutions of VGG-19; the maximum of every feature over all cells of a slide; three fully
connected layers. The same weights with a bag of one cell classify that cell. It is exported as
`encoder` and `head`, so that a slide under the microscope keeps a running maximum.

The paper has several experiments; this is APL against AML in blood (Fig. 4). A checkpoint with
another number of classes is accepted, with APL as the last class. At test time the paper repeats
its random augmentations, and so does `edgeapl train`; here every cell is seen once and unchanged,
or in its eight fixed views, so that the same slide gives the same answer. No probability threshold
for APL is stated: 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from edgeapl.export.architectures.from_keras import vgg19_tensors
from edgeapl.export.architectures.vgg19 import CLASSES, SIDE, Millie, feature_length
from edgeapl.export.recipes.constants import GATE, RESEARCH, rule
from edgeapl.export.recipes.recipe import (
    IMAGENET,
    Images,
    KerasPort,
    NetworkRecipe,
    Numbers,
    Output,
    Recipe,
    Shapes,
)
from edgeapl.export.recipes.segment_anything import other_segmenter

UM_PER_PX = 12.8 / SIDE

CARD = """
Learned from the diagnosis of whole slides alone. Every cell becomes a row of features; the largest
value of each feature over the slide decides. Each cell's own score is what the slide would get if
it had that cell alone.
"""


def recipe(segmenter: str | None = None, classes: Sequence[str] = CLASSES) -> Recipe:
    """Return the recipe; its segmenter is the classical one unless another is named."""
    finder = other_segmenter(segmenter or "hsv-watershed")
    mean, deviation = IMAGENET
    encoder = NetworkRecipe(
        name="encoder",
        weights="model",
        build=_millie,
        keras=KerasPort(vgg19_tensors, _millie),
        part=_encoder,
        input_name="cells",
        input=Images(SIDE, SIDE, mean=mean, deviation=deviation),
        outputs=(Output("features"),),
    )
    head = NetworkRecipe(
        name="head",
        weights="model",
        build=_millie,
        keras=KerasPort(vgg19_tensors, _millie),
        part=_head,
        input_name="features",
        input=Numbers((feature_length(SIDE),)),
        outputs=(Output("logits", "softmax", tuple(classes)),),
        after="encoder.features",
    )
    settings = {
        "intended_use": f"Detection of APL among AML in blood films. {RESEARCH}",
        "um_per_px": UM_PER_PX,
        "segmenter": finder.settings,
        "crop": {"window_um": 12.8, "size_px": SIDE},
        "roles": [
            {
                "name": "apl_cell",
                "network": "head",
                "output": classes[-1],
                "threshold": 0.5,
                "suspicious": True,
            }
        ],
        "features": "encoder.features",
        "reducer": {"kind": "max", "head": "head", "head_outputs": [classes[-1]]},
        # Pooled features give no interval, so only what is far below the limit is cleared.
        "rule": rule(suspicious_share=None, clear_below=0.1),
        "gate": GATE,
    }
    return Recipe(
        name="manescu2023",
        source="Manescu et al. 2023, Scientific Reports, doi 10.1038/s41598-023-29160-4",
        networks=(*finder.networks, encoder, head),
        settings=settings,
        explanation={"kind": "contributions", "title": "Cells that made the answer"},
        card=CARD,
    )


def _millie(shapes: Shapes) -> Millie:
    """Return a network whose fully connected layers match the checkpoint's."""
    widths = [
        shapes[name][0]
        for layer in (0, 3, 6)
        for name in shapes
        if name.endswith(f"classifier.{layer}.weight")
    ]
    if len(widths) != 3:
        return Millie()
    return Millie(hidden=widths[:2], classes=widths[2])


def _encoder(module: nn.Module, explain: bool) -> nn.Module:
    return module.encoder()


def _head(module: nn.Module, explain: bool) -> nn.Module:
    return module.head()

"""Eckardt et al. 2022, BMC Cancer 22:201: APL from bone marrow smears.

Faster R-CNN finds the cells, three Xception networks classify each, and the shares of positive
cells enter a fully connected ensemble with two answers (APL against other AML, APL against
healthy).

Frames are 2560x1920 px for 171x128 µm; cells are classified at 299x299 px. The paper does not say
how a cell of any size becomes 299 px: here 299 px are cut at the frame's own scale, 20 µm, so that
size is preserved. It states no threshold for a positive cell (0.5 here), and no number of cells.
The number of fully connected layers "differed between individual models": it is read from the
checkpoint; random weights get one. Colours are scaled to -1..1, as in the Xception of the libraries
named in the paper.
"""

from __future__ import annotations

from torch import nn

from edgeapl.export.architectures.faster_rcnn import (
    BOX_HEAD_OUTPUTS,
    DETECTOR_OUTPUTS,
    FasterRcnnNetworks,
    current_names,
)
from edgeapl.export.architectures.from_keras import xception_tensors
from edgeapl.export.architectures.heads import RatioEnsemble
from edgeapl.export.architectures.xception import Xception
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
from edgeapl.export.recipes.segment_anything import Finder, other_segmenter

UM_PER_PX = 171 / 2560
SIDE = 299
FRAME_HEIGHT, FRAME_WIDTH = 768, 1024
"""The frame scaled by 0.4: marrow cells are then 60 to 120 px, which suits anchors of 32 to 512 px;
multiples of 32 as the feature pyramid needs."""

MOST_CELLS = 500
ROLES = ("myeloblast", "promyelocyte", "auer_rod")
"""In the order of the paper's text, which is that of the ratios."""

SUSPICIOUS = ("promyelocyte", "auer_rod")

CARD = """
Finds the cells of a bone marrow smear, tells myeloblasts, promyelocytes and cells with Auer rods,
and judges the smear by their shares.
"""


def recipe(segmenter: str | None = None) -> Recipe:
    """Return the recipe, with its detector or with another segmenter instead."""
    name = segmenter or "faster-rcnn"
    finder = _finder() if name == "faster-rcnn" else other_segmenter(name)
    settings = {
        "intended_use": f"Detection of APL in bone marrow smears. {RESEARCH}",
        "um_per_px": round(UM_PER_PX, 5),
        "segmenter": finder.settings,
        "crop": {"window_um": round(SIDE * UM_PER_PX, 3), "size_px": SIDE},
        "roles": [
            {
                "name": role,
                "network": role,
                "output": role,
                "threshold": 0.5,
                "suspicious": role in SUSPICIOUS,
            }
            for role in ROLES
        ],
        "reducer": {
            "kind": "ratio",
            "head": "head",
            "head_outputs": ["apl_vs_aml", "apl_vs_healthy"],
        },
        "rule": rule(),
        "gate": GATE,
    }
    return Recipe(
        name="eckardt2022",
        source="Eckardt et al. 2022, BMC Cancer 22:201, doi 10.1186/s12885-022-09307-8",
        networks=(*finder.networks, *(_cells(role) for role in ROLES), _head()),
        settings=settings,
        explanation={"kind": "occlusion", "title": "Occlusion sensitivity"},
        card=CARD,
    )


def _finder() -> Finder:
    detector = {
        "detector": "detector",
        "box_head": "box_head",
        "input_height": FRAME_HEIGHT,
        "input_width": FRAME_WIDTH,
        "max_detections": MOST_CELLS,
    }
    settings = {"kind": "faster-rcnn", "detector": detector}
    return Finder((_detector(), _box_head()), settings)


def _detector_networks(shapes: Shapes) -> FasterRcnnNetworks:
    classes = shapes.get("roi_heads.box_predictor.cls_score.bias", (2,))[0]
    return FasterRcnnNetworks(classes)


def _detector() -> NetworkRecipe:
    mean, deviation = IMAGENET

    def part(module: nn.Module, explain: bool) -> nn.Module:
        return module.detector()

    return NetworkRecipe(
        name="detector",
        weights="detector",
        build=_detector_networks,
        part=part,
        input_name="frame",
        input=Images(FRAME_HEIGHT, FRAME_WIDTH, mean=mean, deviation=deviation, many=False),
        outputs=tuple(Output(name) for name in DETECTOR_OUTPUTS),
        renamed=current_names,
    )


def _box_head() -> NetworkRecipe:
    def part(module: nn.Module, explain: bool) -> nn.Module:
        return module.box_head()

    return NetworkRecipe(
        name="box_head",
        weights="detector",
        build=_detector_networks,
        part=part,
        input_name="regions",
        input=Numbers((256, 7, 7)),
        outputs=tuple(Output(name) for name in BOX_HEAD_OUTPUTS),
        renamed=current_names,
    )


def _cells(role: str) -> NetworkRecipe:
    return NetworkRecipe(
        name=role,
        weights=role,
        build=_xception,
        part=lambda module, explain: module,
        input_name="cells",
        input=Images(SIDE, SIDE, scale=1 / 127.5, mean=(1.0, 1.0, 1.0)),
        outputs=(None, Output("logit", "sigmoid", (role,))),
        keras=KerasPort(xception_tensors, lambda shapes: _xception(shapes, keras=True)),
    )


def _xception(shapes: Shapes, *, keras: bool = False) -> Xception:
    """Return an Xception whose fully connected layers match the checkpoint's."""
    layers = sorted(
        (int(name.split(".")[-2]), shape)
        for name, shape in shapes.items()
        if name.endswith(".weight") and name.split(".")[-3:-2] == ["fc"]
    )
    return Xception(tuple(shape[0] for _, shape in layers[:-1]), keras=keras)


def _head() -> NetworkRecipe:
    return NetworkRecipe(
        name="head",
        weights="head",
        build=lambda shapes: RatioEnsemble(),
        part=lambda module, explain: module,
        input_name="ratios",
        input=Numbers((len(ROLES),)),
        outputs=(Output("apl_vs_aml"), Output("apl_vs_healthy")),
    )

"""Yan et al. 2025, Cancer Science 116:533: leukaemia from single blood cells, in stages.

Seven progressive multi-granularity ResNeXt-50 networks. Stage 1 separates benign from malignant
cells, 2B five benign types, 2T myeloid from lymphoid, 3M and 3L their subtypes; two more networks
separate APL from other AML and Ph-positive from other ALL. A cell is shown only to the networks on
its path.

Cells are cut out with their mask, what lies outside is black (the paper's "segmentation-based").
Its masks come from Segment Anything, ViT-L, by a grid of points: `--segmenter sam-vit-l-grid`, see
`edgeapl.export.recipes.segment_anything`; without it the classical segmenter draws them. Input
448x448 px: the image brought to 550 px and its centre taken, as Du et al. 2020 test. The paper's
images are 250x250 px of a DI-60; their scale is not printed: 25 µm here. It judges single cells:
how many make a slide is not said, so a slide is flagged from 20 % APL cells on (WHO 2016: 20 %
blasts).
"""

from __future__ import annotations

from functools import partial

from torch import nn

from edgeapl.export.architectures.pmg import SIDE, Pmg, PmgWithMap
from edgeapl.export.recipes.constants import GATE, RESEARCH, SUSPICIOUS_SHARE, rule
from edgeapl.export.recipes.recipe import Images, NetworkRecipe, Output, Recipe, Shapes
from edgeapl.export.recipes.segment_anything import other_segmenter

RESIZED = 550
WINDOW_UM = 25.0

STAGES: tuple[tuple[str, tuple[str, ...], str | None], ...] = (
    ("stage1", ("benign", "malignant"), None),
    (
        "stage2b",
        ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil"),
        "stage1.benign",
    ),
    ("stage2t", ("myeloid", "lymphoid"), "stage1.malignant"),
    ("stage3m", ("aml", "mds", "cml", "cmml"), "stage2t.myeloid"),
    ("stage3l", ("all", "cll", "pcl", "hcl"), "stage2t.lymphoid"),
    ("apl", ("non_apl", "apl"), "stage3m.aml"),
    ("ph", ("ph_negative", "ph_positive"), "stage3l.all"),
)
"""Name, classes in the order of the network's outputs, and which cells it is shown (Fig. 2)."""

ASKED = ("malignant", "myeloid", "lymphoid", "aml", "mds", "cml", "cmml")
ASKED_LATER = ("all", "cll", "pcl", "hcl", "apl", "ph_positive")
BENIGN = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil")

CARD = """
Every cell is sorted step by step: benign or malignant, then its type. A class that a cell was never
asked about, because an earlier step put it elsewhere, has probability 0.
"""


def recipe(segmenter: str | None = None) -> Recipe:
    """Return the recipe; its segmenter is the classical one unless another is named."""
    finder = other_segmenter(segmenter or "hsv-watershed")
    network_of = {name: stage for stage, classes, _ in STAGES for name in classes}
    settings = {
        "intended_use": f"Sorting of single blood cells and detection of APL. {RESEARCH}",
        "um_per_px": 0.1,
        "segmenter": finder.settings,
        "crop": {
            "window_um": WINDOW_UM,
            "size_px": SIDE,
            "resized_px": RESIZED,
            "cell_image_cut": "square",
            "mask": True,
        },
        "roles": [
            {
                "name": name,
                "network": network_of[name],
                "output": name,
                "threshold": 0.5,
                "suspicious": name == "apl",
            }
            for name in (*BENIGN, *ASKED, *ASKED_LATER)
        ],
        "reducer": {"kind": "vote"},
        "rule": rule(flag_at=SUSPICIOUS_SHARE, clear_below=SUSPICIOUS_SHARE),
        "gate": GATE,
    }
    return Recipe(
        name="yan2025",
        source="Yan et al. 2025, Cancer Science 116:533-543, doi 10.1111/cas.16374",
        networks=(*finder.networks, *(_network(*stage) for stage in STAGES)),
        settings=settings,
        explanation={
            "kind": "map",
            "title": "Grad-CAM of the last stage",
            "maps": [f"{stage}.map" for stage, _, _ in STAGES],
        },
        card=CARD,
    )


def _network(name: str, classes: tuple[str, ...], when: str | None) -> NetworkRecipe:
    return NetworkRecipe(
        name=name,
        weights=name,
        build=partial(_pmg, len(classes)),
        part=_part,
        input_name="cells",
        input=Images(SIDE, SIDE, mean=(0.5, 0.5, 0.5), deviation=(0.5, 0.5, 0.5)),
        outputs=(Output("logits", "softmax", classes),),
        explained=Output("map"),
        when=when,
    )


def _pmg(classes: int, shapes: Shapes) -> Pmg:
    """Return a network for these classes, with the trunk's unused classifier if it is stored."""
    trunk = [shape[0] for name, shape in shapes.items() if name.endswith("features.fc.bias")]
    return Pmg(classes, trunk_classes=trunk[0] if trunk else None)


def _part(module: nn.Module, explain: bool) -> nn.Module:
    return PmgWithMap(module) if explain else module

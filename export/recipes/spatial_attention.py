"""Network with spatial attention: fusion genes of APL from bone marrow images.

The paper's "CNN with spatial attention" distinguishes PML-RARA, TTMV-RARA, NPM1-RARA, STAT5B-RARA
and NUP98-RARG (98.04 % of its test images). Its input is "a bone marrow smear image", resized
to one size and normalised; it is a whole field, not a cell. So here every frame is one row: the
whole field stretched to 224x224 px, and the tally counts fields.

All its classes are kinds of APL. It cannot tell whether a slide is APL at all, so the bundle's
only verdict is REVIEW, with the share of fields that suggest each fusion gene. The paper does not
state size, normalisation (0.5 and 0.5 here) or how fields make a slide (shares).
"""

from __future__ import annotations

from torch import nn

from edgeapl.export.architectures.spatial_attention import CLASSES, SpatialAttention
from edgeapl.export.recipes.constants import GATE, RESEARCH, rule
from edgeapl.export.recipes.recipe import Images, NetworkRecipe, Output, Recipe, Shapes
from edgeapl.export.recipes.segment_anything import other_segmenter

SIDE = 224

CARD = """
Tells which fusion gene an APL has, from whole fields of view. It knows APL only: on a slide without
APL it still names a fusion gene. Use it only where APL is known.
"""


def recipe(segmenter: str | None = None) -> Recipe:
    """Return the recipe; with a segmenter named, single cells are judged instead of fields."""
    finder = other_segmenter(segmenter or "field")
    network = NetworkRecipe(
        name="network",
        weights="model",
        build=_network,
        part=_part,
        input_name="images",
        input=Images(SIDE, SIDE, mean=(0.5, 0.5, 0.5), deviation=(0.5, 0.5, 0.5)),
        outputs=(Output("logits", "softmax", CLASSES),),
        explained=Output("attention"),
    )
    cells = segmenter is not None and segmenter != "field"
    cut = "window" if cells else "box"
    settings = {
        "intended_use": f"Fusion gene of a known APL, from bone marrow smears. {RESEARCH}",
        "answers": "subtype",
        "um_per_px": 0.1,
        "segmenter": finder.settings,
        "crop": {"window_um": 20.0, "size_px": SIDE, "cut": cut, "cell_image_cut": "box"},
        "roles": [
            {
                "name": name.lower().replace("-", "_"),
                "network": "network",
                "output": name,
                "threshold": 0.5,
            }
            for name in CLASSES
        ],
        "reducer": {"kind": "vote"},
        "rule": rule(min_scored=1),
        "gate": GATE,
    }
    return Recipe(
        name="spatial-attention",
        source="CNN with spatial attention, APL fusion gene subtypes (98.04 % of the test images)",
        networks=(*finder.networks, network),
        settings=settings,
        explanation={"kind": "map", "title": "Attention", "maps": ["network.attention"]},
        card=CARD,
    )


def _network(shapes: Shapes) -> SpatialAttention:
    return SpatialAttention()


def _part(module: nn.Module, explain: bool) -> nn.Module:
    return module if explain else _LogitsAlone(module)


class _LogitsAlone(nn.Module):
    """Drops the attention map."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: object) -> object:
        return self.inner(x)[0]

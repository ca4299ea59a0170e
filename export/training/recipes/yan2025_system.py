"""What the export takes of a trained `yan2025`: one recipe for all of its networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from edgeapl.bundle.specs import CropSpec
from edgeapl.export.recipes.constants import GATE, RESEARCH, SUSPICIOUS_SHARE, rule
from edgeapl.export.recipes.yan2025 import STAGES
from edgeapl.export.trained_on import FILE as TRAINING_SET
from edgeapl.export.trained_on import digests_document
from edgeapl.export.training.leukaemia_tree import STAGE_OF
from edgeapl.export.training.recipe import BundleFiles, Classes
from edgeapl.export.training.run_state import write_whole
from edgeapl.export.training.trainer import Trained
from edgeapl.export.training.writer import MODEL, RECIPE, WEIGHTS, seen

SUSPICIOUS = "apl"
NO_ROLE = ("benign", "non_apl", "ph_negative")
"""Classes that are none of the questions about a slide."""

THRESHOLD = 0.5
UM_PER_PX = 0.1
NORM = (0.5, 0.5, 0.5)
"""Mean and deviation: the public code of Du et al. gives its networks RGB from -1 to 1."""

ABOUT = (
    "Trained by `edgeapl train yan2025`. Every cell is sorted step by step; a class that it was "
    "never asked about has probability 0."
)
ABOUT_ONE = (
    "Trained by `edgeapl train yan2025 --part {}`: this network alone, shown every cell, also "
    "those that the stages before it would keep from it."
)

CODE = '''"""The networks of a trained `yan2025`; recipe.toml names them."""

from edgeapl.export.architectures.pmg import Pmg
'''

CODE_OF_STAGE = """

def {stage}() -> Pmg:
    return Pmg({classes}, trunk_classes=None)
"""


def write(parts: Sequence[Trained], heads: Sequence[Trained], out: Path) -> tuple[str, ...]:
    """Write the recipe of all stages, and what they learned from.

    Returns the words after ``edgeapl export``. Raises StorageError.
    """
    write_whole(out / RECIPE, tomli_w.dumps(dict(settings(parts[0].recipe.crop))).encode())
    write_whole(out / MODEL, code().encode())
    write_whole(out / TRAINING_SET, digests_document(set().union(*map(seen, parts))))
    given = (
        word for name, _, _ in STAGES for word in ("--weights", f"{name}={out / name / WEIGHTS}")
    )
    return (str(out / RECIPE), *given, "--trained-on", str(out / TRAINING_SET))


def alone(stage: str, crop: CropSpec, classes: Classes) -> BundleFiles:
    """Return what the export takes of one stage that is shown every cell."""
    return BundleFiles(settings(crop, stage), code(stage).replace(f"def {stage}", "def build"))


def code(only: str | None = None) -> str:
    """Return the module that builds the networks, or one of them."""
    return CODE + "".join(
        CODE_OF_STAGE.format(stage=name, classes=len(classes))
        for name, classes, _ in STAGES
        if only in (None, name)
    )


def settings(crop: CropSpec, only: str | None = None) -> Mapping[str, Any]:
    """Return the content of ``recipe.toml``.

    crop : how all stages see cells. only : the one stage to export, which is then shown every cell.
    """
    networks = {
        name: {
            "weights": name if only is None else "model",
            "factory": f"{MODEL}:{name if only is None else 'build'}",
            "outputs": ["logits"],
            "softmax": {"logits": list(classes)},
            **({"when": when} if when is not None and only is None else {}),
        }
        for name, classes, when in STAGES
        if only in (None, name)
    }
    return {
        "name": "yan2025" if only is None else f"yan2025-{only}",
        "intended_use": f"Sorting of single blood cells and detection of APL. {RESEARCH}",
        "about": ABOUT if only is None else ABOUT_ONE.format(only),
        "um_per_px": UM_PER_PX,
        "images": {
            **crop.model_dump(mode="json", exclude_none=True),
            "mean": list(NORM),
            "deviation": list(NORM),
        },
        "networks": networks,
        "roles": [
            {
                "name": name,
                "network": stage,
                "output": name,
                "threshold": THRESHOLD,
                "suspicious": name == SUSPICIOUS,
            }
            for name, stage in STAGE_OF.items()
            if stage in networks and name not in NO_ROLE
        ],
        "reducer": {"kind": "vote"},
        "rule": rule(flag_at=SUSPICIOUS_SHARE, clear_below=SUSPICIOUS_SHARE),
        "gate": GATE,
    }

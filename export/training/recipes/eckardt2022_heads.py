"""The ensembles of `eckardt2022`: what a slide is, by the shares of its cells.

Eckardt et al. 2022, BMC Cancer, "Image-level classification via ensemble learning": the shares of
myeloblasts, promyelocytes and cells with Auer rods are "combined via a fully connected layer
without dropout to form binary ensemble neural nets", one for APL or other AML, one for APL or
healthy; "balancing of data sets"; "2:1 split to prevent patients from crossing".

A cell of a slide is called by networks that did not learn from its patient (``--folds``): shares of
cells that were learned from would be too good. So they are stacked as Wolpert 1992 says, and a
fold of an ensemble is not quite apart: what called the cells of the patients it learned from may
have learned from those it tests.

Where the paper is silent: Adam with 0.05, 200 epochs, batches of 32 slides. It augments images;
here the cells of a slide are drawn anew with replacement, as its networks have answered already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from edgeapl.bundle.digest import sha256
from edgeapl.errors import InputError
from edgeapl.export.architectures.heads import ALTERNATIVES
from edgeapl.export.recipes.constants import GATE, RESEARCH, rule
from edgeapl.export.recipes.eckardt2022 import ROLES, SUSPICIOUS, UM_PER_PX
from edgeapl.export.trained_on import FILE as TRAINING_SET
from edgeapl.export.trained_on import digests_document
from edgeapl.export.training.augmentation import Augmentation
from edgeapl.export.training.cell_pool import CellPool
from edgeapl.export.training.recipe import TrainingRecipe
from edgeapl.export.training.run_state import tensor_bytes, write_whole
from edgeapl.export.training.settings import Rate, Settings
from edgeapl.export.training.share_objective import ShareAnswer, ShareObjective
from edgeapl.export.training.system import Head
from edgeapl.export.training.trainer import Trained
from edgeapl.export.training.training_data import TrainingData
from edgeapl.export.training.writer import MODEL, RECIPE, WEIGHTS, seen
from edgeapl.types import Float32, Int64

HEALTHY = frozenset({"healthy", "healthy donor", "normal", "control", "donor"})
"""Labels, in small letters, of people without a leukaemia; all others are other leukaemias."""

LABELS = {"aml": "AML", "healthy": "healthy"}
THRESHOLD = 0.5
HEAD = "head.pt"

CODE = '''"""The networks of a trained `eckardt2022`; recipe.toml names them."""

from edgeapl.export.architectures.heads import RatioEnsemble
from edgeapl.export.architectures.xception import Xception

{cells}
def head() -> RatioEnsemble:
    return RatioEnsemble({alternatives})
'''

CODE_OF_CELLS = """
def {name}() -> Xception:
    return Xception({hidden})

"""


def heads(parts: Sequence[Trained], positive: str) -> tuple[Head, ...]:
    """Return the ensembles that the labels allow: for other AML, for healthy people, or both.

    Raises InputError when no cell was called by a network that did not learn from its patient, or
    labels say nothing of two kinds of slides.
    """
    pool = parts[0].pool
    if parts[0].labelled.by_image:
        raise InputError("no ensemble", "the patients are unknown", "give --labels of patients")
    calls = calls_of(parts)
    judged = ~np.isnan(calls).any(1)
    if not judged.any():
        mend = "give --folds 3: cells must be called by networks that did not learn from them"
        raise InputError("no ensemble", "nobody was kept for a test", mend)
    found = []
    for alternative in ALTERNATIVES:
        own = [_alternative(image.label, positive) in ("", alternative) for image in pool.images]
        rows = np.flatnonzero(judged & np.array(own))
        if {_alternative(pool.images[row].label, positive) for row in rows} == {"", alternative}:
            some = _part_of(pool, rows, positive)
            found.append(Head(_recipe(alternative, parts, calls[rows]), some))
    if not found:
        mend = f"label slides of {positive}, and others of AML or healthy"
        raise InputError("no ensemble", f"no slides of {positive} and of another kind", mend)
    return tuple(found)


def calls_of(parts: Sequence[Trained]) -> Float32:
    """Return what every cell was called, float32 (N, 3): 1, 0, or NaN where nobody was asked.

    By the mean of the networks that did not learn from its patient.
    """
    calls = np.full((len(parts[0].pool), len(parts)), np.nan, dtype=np.float32)
    for column, part in enumerate(parts):
        sums, times = np.zeros((2, len(part.pool)))
        for said in (one.tested for one in part.rounds if one.tested is not None):
            sums[said.cells] += said.probabilities[:, 1]
            times[said.cells] += 1
        asked = times > 0
        calls[asked, column] = sums[asked] / times[asked] >= THRESHOLD
    return calls


def _alternative(label: str, positive: str) -> str:
    """Return what APL is told from on a slide with this label; empty for APL itself."""
    if label == positive:
        return ""
    return "healthy" if label.casefold() in HEALTHY else "aml"


def _part_of(pool: CellPool, rows: Int64, positive: str) -> CellPool:
    images = []
    for row in rows.tolist():
        image = pool.images[row]
        alternative = _alternative(image.label, positive)
        images.append(replace(image, label=LABELS[alternative] if alternative else positive))
    digests = tuple(pool.digests[row] for row in rows.tolist())
    return CellPool(pool.crops[rows], tuple(images), digests)


def _recipe(alternative: str, parts: Sequence[Trained], calls: Float32) -> TrainingRecipe:
    of_cells = parts[0].recipe

    def objective(data: TrainingData) -> ShareObjective:
        return ShareObjective(data, calls)

    return replace(
        of_cells,
        name=f"eckardt2022-apl-vs-{alternative}",
        judges="slides",
        settings=Settings(epochs=200, rate=Rate(0.05), optimiser="adam", batch=32),
        augmentation=Augmentation(turn=False, mirror=False),
        build=lambda classes: ShareAnswer(len(ROLES)),
        objective=objective,
        bundle=None,
        cell_classes={},
        cell_order=(),
        other="",
        # Other calls of the same cells are another training.
        space={},
        variant=None,
        form={"shares": list(ROLES), "called": sha256(calls.tobytes())},
    )


def write(parts: Sequence[Trained], of_slides: Sequence[Trained], out: Path) -> tuple[str, ...]:
    """Write the system's recipe, its ensemble and what it learned from.

    Returns the words after ``edgeapl export``. Raises StorageError.
    """
    state = {}
    for one in of_slides:
        name = one.recipe.name.rpartition("-")[2]
        for key, tensor in one.module.linear.state_dict().items():
            state[f"{name}.{key}"] = tensor.detach().cpu().contiguous()
    alternatives = tuple(name for name in ALTERNATIVES if f"{name}.weight" in state)
    digests = set().union(*(seen(each) for each in (*parts, *of_slides)))
    hidden = {role: tuple(part.recipe.form["hidden"]) for role, part in _by_role(parts).items()}
    cells = "".join(CODE_OF_CELLS.format(name=role, hidden=hidden[role]) for role in ROLES)
    code = CODE.format(cells=cells, alternatives=repr(alternatives))
    write_whole(out / HEAD, tensor_bytes(state))
    write_whole(out / RECIPE, tomli_w.dumps(_settings(parts, alternatives)).encode())
    write_whole(out / MODEL, code.encode())
    write_whole(out / TRAINING_SET, digests_document(digests))
    weights = [f"{role}={out / role / WEIGHTS}" for role in ROLES] + [f"head={out / HEAD}"]
    given = (word for each in weights for word in ("--weights", each))
    return (str(out / RECIPE), *given, "--trained-on", str(out / TRAINING_SET))


def _by_role(parts: Sequence[Trained]) -> dict[str, Trained]:
    return {part.recipe.cell_order[-1]: part for part in parts}


def _settings(parts: Sequence[Trained], alternatives: tuple[str, ...]) -> dict[str, Any]:
    recipe = parts[0].recipe
    named = {role: part.named[role] for role, part in _by_role(parts).items()}
    cells = {
        role: {
            "weights": role,
            "factory": f"{MODEL}:{role}",
            "outputs": ["-", "logit"],
            "sigmoid": {"logit": [role]},
        }
        for role in ROLES
    }
    outputs = [f"apl_vs_{name}" for name in alternatives]
    head = {
        "weights": "head",
        "factory": f"{MODEL}:head",
        "takes": [len(ROLES)],
        "outputs": outputs,
    }
    return {
        "name": "eckardt2022",
        "intended_use": f"Detection of APL by networks trained here. {RESEARCH}",
        "about": "Trained by `edgeapl train eckardt2022`: shares of cells, told from "
        + " and ".join(LABELS[name] for name in alternatives)
        + ". What each class of cells was called by the cohort: "
        + "; ".join(f"{role}: {', '.join(named[role])}" for role in ROLES)
        + ".",
        "um_per_px": round(UM_PER_PX, 5),
        "images": {
            **recipe.crop.model_dump(mode="json", exclude_none=True),
            "scale": recipe.images.scale,
            "mean": list(recipe.images.mean),
        },
        "networks": {**cells, "head": head},
        "roles": [
            {
                "name": role,
                "network": role,
                "output": role,
                "threshold": THRESHOLD,
                "suspicious": role in SUSPICIOUS,
            }
            for role in ROLES
        ],
        "reducer": {"kind": "ratio", "head": "head", "head_outputs": outputs},
        "rule": rule(),
        "gate": GATE,
    }

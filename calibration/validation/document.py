"""The proof as stored in engine.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from edgeapl.calibration.validation.cells import CellComparison
from edgeapl.calibration.validation.engine_proof import EngineProof
from edgeapl.calibration.validation.limits import SlideComparison


def engine_proof_document(proof: EngineProof) -> dict[str, Any]:
    """Return the proof as plain JSON values; infinite differences are null."""
    outputs: dict[str, Any] = {}
    for one in proof.outputs:
        numbers = {key: _number(getattr(one, key)) for key in ("mean", "p99", "largest", "span")}
        outputs.setdefault(one.network, {})[one.output] = {"rows": one.rows, **numbers}
    return {
        "passed": not proof.problems,
        "problems": list(proof.problems),
        "limits": proof.limits.model_dump(),
        **answers_document(proof.cells, proof.slides, "engine"),
        "detected": None if proof.detected is None else asdict(proof.detected),
        "unproven": list(proof.unproven),
        "outputs": outputs,
    }


def answers_document(
    cells: CellComparison, slides: Sequence[SlideComparison], candidate: str
) -> dict[str, Any]:
    """Return how cells and slides were judged by both, as plain JSON values.

    candidate : name of what was compared with the bundle.
    """
    return {
        "cells": cells.cells,
        "flipped": cells.flipped,
        "failed": cells.failed,
        "flip_rate": cells.flip_rate,
        "roles": {role.role: asdict(role) for role in cells.roles},
        "recall": {
            one.name: {"cells": one.cells, "kept": one.kept, "drop": one.drop}
            for one in cells.recalls
        },
        "verdicts_changed": sum(slide.changed for slide in slides),
        "slides": [
            {
                "slide": slide.name,
                "changed": slide.changed,
                "reference": asdict(slide.reference),
                candidate: asdict(slide.candidate),
            }
            for slide in slides
        ],
    }


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None

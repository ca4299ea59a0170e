"""The proof as stored in engine.json."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from edgeapl.calibration.validation.engine_proof import EngineProof


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
        "cells": proof.cells.cells,
        "flipped": proof.cells.flipped,
        "failed": proof.cells.failed,
        "flip_rate": proof.flip_rate,
        "roles": {role.role: asdict(role) for role in proof.cells.roles},
        "recall": {
            one.name: {"cells": one.cells, "kept": one.kept, "drop": one.drop}
            for one in proof.cells.recalls
        },
        "verdicts_changed": sum(slide.changed for slide in proof.slides),
        "slides": [
            {
                "slide": slide.name,
                "changed": slide.changed,
                "reference": asdict(slide.reference),
                "engine": asdict(slide.candidate),
            }
            for slide in proof.slides
        ],
        "detected": None if proof.detected is None else asdict(proof.detected),
        "unproven": list(proof.unproven),
        "outputs": outputs,
    }


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None

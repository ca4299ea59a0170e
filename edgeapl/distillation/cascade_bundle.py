"""The bundle of a cascade: the student answers first, its parent what the student is unsure of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.bundle.load import Bundle
from edgeapl.bundle.specs import CascadeSpec
from edgeapl.cores import cpu_cores
from edgeapl.distillation.answered_cells import AnsweredCells
from edgeapl.distillation.heads import heads_of
from edgeapl.distillation.student_bundle import NETWORK, common_parts
from edgeapl.distillation.teaching import answers_of
from edgeapl.engines.registry import open_engine
from edgeapl.errors import InputError, UsageError
from edgeapl.export.student_file import INPUT
from edgeapl.stages.cascade import Decisions, conformal_margin, student_output
from edgeapl.types import Float32, Int64

BATCH = 16
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class MeasuredDoubt:
    """What a cascade was measured to do.

    spec : for its manifest. passed_on : share of the held-back cells that go to the parent, 0 to 1.
    """

    spec: CascadeSpec
    passed_on: float


def check_cascade(parent: Bundle) -> None:
    """Raise UsageError for a parent that no student can stand in front of."""
    if parent.manifest.crop.views > 1:
        mend = "leave --cascade out: the student alone sees a cell once"
        raise UsageError("bundle shows a cell in several views", parent.folder, mend)
    if NETWORK in parent.manifest.networks:
        mend = "distil a student of its parent instead"
        raise UsageError("a student has no cascade of its own", parent.folder, mend)


def measure_doubt(
    parent: Bundle, model: bytes, cells: AnsweredCells, error: float
) -> MeasuredDoubt:
    """Find the margin of a student's answers, and count the wrong ones beyond it.

    Parameters
    ----------
    model : the student's ONNX file. cells : the margin is found on `AnsweredCells.measure`, and
        what it lets through is counted on `AnsweredCells.prove`, other slides.
    error : share of cells that may be answered otherwise, 0 to 1 exclusive.

    Raises InputError for too few cells, EngineError when the student fails.
    """
    decisions = Decisions.of(parent.manifest)
    engine = open_engine("onnxruntime", NETWORK, model, threads=cpu_cores())
    parents = answers_of(parent.manifest, heads_of(parent.manifest), cells)
    wanted = {student_output(*key): values for key, values in parents.items()}

    def both(rows: Int64) -> tuple[dict[str, Float32], dict[str, Float32]]:
        parts = [
            engine.run({INPUT: np.asarray(cells.crops[rows[start : start + BATCH]])})
            for start in range(0, len(rows), BATCH)
        ]
        student = {name: np.concatenate([part[name] for part in parts]) for name in wanted}
        return student, {name: values[rows] for name, values in wanted.items()}

    try:
        margin = conformal_margin(decisions.distances(*both(cells.measure)), error)
        if not math.isfinite(margin):
            needed = math.ceil(1 / error) - 1
            mend = f"an error of {100 * error:g} % takes {needed}: give more slides or --error"
            raise InputError("too few cells to measure doubts on", len(cells.measure), mend)
        student, right = both(cells.prove)
    finally:
        engine.close()
    stands = decisions.margins(student) > margin
    wrong = stands & (decisions.distances(student, right) > 0)
    spec = CascadeSpec(
        network=NETWORK,
        margin=margin,
        error=error,
        cells=len(cells.prove),
        otherwise=int(wrong.sum()),
        confidence=CONFIDENCE,
    )
    return MeasuredDoubt(spec, float(1 - stands.mean()))


def cascade_parts(
    parent: Bundle, model: bytes, spec: CascadeSpec, seen: frozenset[str]
) -> tuple[dict[str, Any], dict[str, bytes | Path]]:
    """Return the settings and files of a cascade's bundle, still without its proof.

    Parameters
    ----------
    model, seen : as in `student_parts`. spec : of `measure_doubt`.
    """
    manifest = parent.manifest
    settings, files = common_parts(parent, seen)
    networks: Mapping[str, Any] = manifest.model_dump(mode="json", exclude_none=True)["networks"]
    settings["name"] = f"{manifest.name[:56]}-cascade"
    settings["intended_use"] = f"As {manifest.name}, faster. {manifest.intended_use}"
    settings["networks"] = {
        NETWORK: {"file": f"{NETWORK}.onnx", "input": INPUT},
        **networks,
    }
    settings["cascade"] = spec.model_dump(mode="json")
    files |= {one["file"]: parent.folder / one["file"] for one in networks.values()}
    files[f"{NETWORK}.onnx"] = model
    files[manifest.model_card] = _card(parent).encode()
    return settings, files


def _card(parent: Bundle) -> str:
    manifest = parent.manifest
    return f"""# Cascade before {manifest.name} {manifest.version}

One small network that was taught the answers of the bundle {parent.digest} answers first. Cells
that it is unsure of go to the networks of that bundle, which are in this one. How often the answers
differ, on slides that it did not learn from, is in bundle.toml under `cascade`, and every verdict
allows for it.

Research use only. Not for diagnosis.
"""

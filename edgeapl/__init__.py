"""EdgeAPL raises the alarm for acute promyelocytic leukaemia at the microscope.

    import edgeapl

    with edgeapl.open_model() as model:
        verdict = model.examine("slide/")
    print(verdict.decision, verdict.reasons, len(verdict.cells))

Importing this package loads nothing heavy: what `__all__` names is imported when it is first used.
Research use only. Not for diagnosis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeapl.api.cells import Cells
    from edgeapl.api.commands import build_engine, evaluate, export
    from edgeapl.api.folders import Scored, score
    from edgeapl.api.model import Model, open_model
    from edgeapl.api.verdict import Verdict
    from edgeapl.errors import EdgeAplError
    from edgeapl.protocols import FrameSource
    from edgeapl.types import CellStatus, Decision, Frame, ScaleOrigin

__version__ = "0.1.0"

__all__ = [
    "CellStatus",
    "Cells",
    "Decision",
    "EdgeAplError",
    "Frame",
    "FrameSource",
    "Model",
    "ScaleOrigin",
    "Scored",
    "Verdict",
    "__version__",
    "build_engine",
    "evaluate",
    "export",
    "open_model",
    "score",
]

_PLACES = {
    "CellStatus": "edgeapl.types",
    "Cells": "edgeapl.api.cells",
    "Decision": "edgeapl.types",
    "EdgeAplError": "edgeapl.errors",
    "Frame": "edgeapl.types",
    "FrameSource": "edgeapl.protocols",
    "Model": "edgeapl.api.model",
    "ScaleOrigin": "edgeapl.types",
    "Scored": "edgeapl.api.folders",
    "Verdict": "edgeapl.api.verdict",
    "build_engine": "edgeapl.api.commands",
    "evaluate": "edgeapl.api.commands",
    "export": "edgeapl.api.commands",
    "open_model": "edgeapl.api.model",
    "score": "edgeapl.api.folders",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'edgeapl' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

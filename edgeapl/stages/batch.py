"""One run of a network: the cells in it, and what it gave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.protocols import Engine
from edgeapl.stages.cell_image import CellImage, images_of
from edgeapl.stages.routing import Outputs, Step


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Cells in front of one network.

    place : of its step. cells : their numbers. given : what the network is given, or the cells
    whose images it is.
    """

    place: int
    cells: list[int]
    given: NDArray[np.generic] | list[CellImage]


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """What a run gave, and the seconds in which its cells were cut."""

    answers: Outputs
    cut_s: float


def run_batch(batch: Batch, step: Step, engine: Engine) -> Ran:
    """Cut the cells that are not cut yet, and run the network; raises EngineError as it does."""
    given, cut_s = batch.given, 0.0
    if isinstance(given, list):
        given, cut_s = images_of(given)
    return Ran(step.rows(engine.run({step.input: given}), len(batch.cells)), cut_s)

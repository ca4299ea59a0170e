"""What a user asks of a distillation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgeapl.export.architectures.student import SIDE
from edgeapl.export.training.augmentation import Augmentation
from edgeapl.export.training.device import Device
from edgeapl.export.training.settings import Rate, Settings

Say = Callable[[str], None]
"""Called with each stage."""

MOST_CELLS = 6000
"""Cells that the parent is asked about, if no number is given: three networks of 299 px take a
quarter of an hour for them on two cores."""

ERROR = 0.005
"""Share of cells that a cascade may answer otherwise, if none is given."""

SETTINGS = Settings(
    epochs=30,
    rate=Rate(2e-3, "cosine"),
    optimiser="adamw",
    weight_decay=0.05,
    clip=5.0,
    batch=64,
)

AUGMENTATION = Augmentation(
    zoom=0.05, shift=0.03, hue=0.02, gamma=0.15, stain=0.2, light=0.08, noise=0.02, blur=0.1
)
"""Half of what `mil-small` learns from: the parent was asked about the cells as they are, and what
is changed too much it would call something else."""


@dataclass(frozen=True, slots=True)
class DistillRequest:
    """What to distil, on which slides.

    bundle : the parent. frames : slides of the laboratory, unlabelled.
    out : folder of the student; None for none. cascade : folder of a bundle in which the student
        answers first and its parent what the student is unsure of; None for none.
    error : share of cells that the cascade may answer otherwise.
    crops, um_per_px : as in `edgeapl.calibration.calibrator.CalibrateRequest`.
    evidence : the slides of the parent's certificate, if the student is to inherit it.
    most_cells : that the parent is asked about. side : of the student's input, px, about.
    max_flip_rate : in place of the parent's own limit.
    """

    bundle: Path
    frames: Path
    out: Path | None
    device: Device
    cascade: Path | None = None
    error: float = ERROR
    crops: bool = False
    um_per_px: float | None = None
    evidence: Path | None = None
    most_cells: int = MOST_CELLS
    side: int = SIDE
    max_flip_rate: float | None = None
    settings: Settings = SETTINGS
    augmentation: Augmentation = field(default=AUGMENTATION)

    @property
    def work(self) -> Path:
        """Folder of what is done so far; it is removed when all bundles are written."""
        beside = self.out or self.cascade
        assert beside is not None  # `distil` refuses a request for nothing
        return beside.with_name(beside.name + ".work")

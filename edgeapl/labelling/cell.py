"""One cell of a finished slide, and who gave it which class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeAlias

UNSURE = "unsure"
"""The word with which a person takes a cell's class away."""

Box: TypeAlias = tuple[float, float, float, float]
"""x0 y0 x1 y1, px, half-open."""

Polygon: TypeAlias = tuple[tuple[float, float], ...]
"""Corners x y in px, not closed; the origin is the corner of the first pixel."""


@dataclass(frozen=True, slots=True)
class Correction:
    """The class a person gave a cell.

    time : UTC, ISO 8601. row : number of its row in the journal.
    """

    label: str
    person: str
    time: str
    row: int


@dataclass(frozen=True, slots=True)
class LabelledCell:
    """One cell.

    number : within its slide.
    area_um2, found : area, µm², and confidence that this is a cell, 0 to 1; as in `cells.csv`.
    status : ``scored``, ``not_examined``, ``failed`` or ``not_needed``.
    machine_class : role or ``other cell``; empty without a score.
    scores : role to probability, and the suspicion; texts as in `cells.csv`, empty without a score.
    corrections : classes that people gave it, oldest first; the last one counts.
    outline : its polygons, largest first; empty if none was kept.
    """

    number: int
    box: Box
    area_um2: str
    found: str
    status: str
    machine_class: str
    scores: Mapping[str, str]
    corrections: tuple[Correction, ...] = ()
    outline: tuple[Polygon, ...] = ()

    @property
    def correction(self) -> Correction | None:
        """The correction that counts."""
        return self.corrections[-1] if self.corrections else None

    @property
    def label(self) -> str:
        """The class to learn: a person's before the machine's; empty if there is none."""
        if self.correction is None:
            return self.machine_class
        return "" if self.correction.label == UNSURE else self.correction.label

    @property
    def labelled_by(self) -> str:
        """Who gave the class: ``person``, ``machine`` or empty."""
        if not self.label:
            return ""
        return "machine" if self.correction is None else "person"


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One used frame.

    source, digest : its path as recorded, and its SHA-256 (hex).
    number : as in `frames.csv`. width, height : px.
    """

    source: str
    digest: str
    number: int
    width: int
    height: int
    um_per_px: float
    cells: tuple[LabelledCell, ...]

    @property
    def is_file(self) -> bool:
        """Whether its source looks like a file, not like a camera."""
        return "://" not in self.source and PurePath(self.source).suffix != ""


@dataclass(frozen=True, slots=True)
class LabelledSlide:
    """One record of a slide.

    home : its folder in the results. record, time : hash and time of its row in the journal; the
    time is empty if no journal was read.
    """

    slide: str
    home: Path
    record: str
    time: str
    roles: tuple[str, ...]
    frames: tuple[LabelledFrame, ...]

    @property
    def cells(self) -> Iterator[LabelledCell]:
        """Iterate over the cells of all frames."""
        return (cell for frame in self.frames for cell in frame.cells)

"""Chooses the pictures of a page while frames come in, in bounded memory."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgeapl.report.cell_classes import CellKind, reaches
from edgeapl.report.context import ReportContext
from edgeapl.report.pictures import PAGE_FRAME_PX, cell_picture, jpeg_bytes, shrunk
from edgeapl.report.unexamined_area import lost_parts
from edgeapl.types import CellStatus, ExaminedFrame, UInt8

MOST_UNSCORED = 60
MOST_OF_KIND = 12
MOST_FRAMES = 30
MOST_REJECTED_PICTURES = 12
MOST_REJECTED = 200
REJECTED_PX = 240


@dataclass(frozen=True, slots=True)
class CellPicture:
    """One cell on the page.

    cell : its number within the slide. frame, source : number and name of its frame.
    scores : role to probability, empty for a cell without scores. positive : roles whose threshold
    is reached. suspicion : 0 to 1, or None. jpeg : the picture.
    """

    cell: int
    frame: int
    source: str
    kind: CellKind
    status: CellStatus
    scores: Mapping[str, float]
    positive: frozenset[str]
    suspicion: float | None
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class FramePicture:
    """One used frame on the page, with its cells outlined.

    overlay : name of the full picture within the folder of overlays.
    lost : the parts that could not be examined, in words; empty when there are none.
    """

    number: int
    source: str
    cells: int
    suspicious: int
    overlay: str
    jpeg: bytes
    lost: str = ""


@dataclass(frozen=True, slots=True)
class RejectedFrame:
    """One frame that was not used, and why; the first few have a picture."""

    number: int
    source: str
    reasons: tuple[str, ...]
    jpeg: bytes | None


@dataclass(slots=True)
class Gallery:
    """Keeps the most informative pictures and counts the rest.

    overview : JPEG of a whole slide's scan with the examined tiles; None for frames.

    of_kind : the first cells of every kind, for models that tell many kinds apart.

    Cells are kept by suspicion, frames by their number of suspicious cells, both then by order.
    The first cells without a score and the first rejected frames are kept, up to a limit.
    """

    context: ReportContext
    overview: bytes | None = None
    unscored: list[CellPicture] = field(default_factory=list)
    rejected: list[RejectedFrame] = field(default_factory=list)
    frames_used: int = 0
    frames_rejected: int = 0
    frames_not_drawn: int = 0
    suspicious: int = 0
    of_kind: dict[str, list[CellPicture]] = field(default_factory=dict)
    cells: dict[CellStatus, int] = field(default_factory=lambda: dict.fromkeys(CellStatus, 0))
    _best: list[tuple[float, int, CellPicture]] = field(default_factory=list)
    _frames: list[tuple[int, float, int, FramePicture]] = field(default_factory=list)

    @property
    def scored(self) -> int:
        """Cells with a score."""
        return self.cells[CellStatus.SCORED]

    def add_cells(self, examined: ExaminedFrame, kinds: Sequence[CellKind]) -> None:
        """Add the cells of one frame."""
        self.suspicious += sum(kind.suspicious for kind in kinds)
        for row, status in enumerate(examined.status):
            self.cells[status] += 1
            if status is CellStatus.NOT_NEEDED:
                continue  # many and unremarkable: only counted
            if status is not CellStatus.SCORED:
                if len(self.unscored) < MOST_UNSCORED:
                    self.unscored.append(self._picture(examined, row, kinds[row]))
                continue
            self._keep_of_kind(examined, row, kinds[row])
            rank = (float(examined.suspicion[row]), -int(examined.ids[row]))
            if len(self._best) >= self.context.gallery_size and rank < self._best[0][:2]:
                continue
            entry = (*rank, self._picture(examined, row, kinds[row]))
            heapq.heappush(self._best, entry)
            if len(self._best) > self.context.gallery_size:
                heapq.heappop(self._best)

    def _keep_of_kind(self, examined: ExaminedFrame, row: int, kind: CellKind) -> None:
        if not self.context.by_kind:
            return
        kept = self.of_kind.setdefault(kind.name, [])
        if len(kept) < MOST_OF_KIND:
            kept.append(self._picture(examined, row, kind))

    def _picture(self, examined: ExaminedFrame, row: int, kind: CellKind) -> CellPicture:
        box = examined.detections.boxes[row]
        scored = examined.status[row] is CellStatus.SCORED
        values = examined.roles if scored else {}
        scores = {role: float(column[row]) for role, column in values.items()}
        return CellPicture(
            cell=int(examined.ids[row]),
            frame=examined.frame.index,
            source=examined.frame.source,
            kind=kind,
            status=examined.status[row],
            scores=scores,
            positive=frozenset(
                role
                for role, threshold in self.context.roles.items()
                if reaches(examined.roles[role][row : row + 1], threshold)
            ),
            suspicion=float(examined.suspicion[row]) if scored else None,
            jpeg=jpeg_bytes(cell_picture(examined.frame, box, crops=self.context.crops)),
        )

    def add_frame(
        self, examined: ExaminedFrame, kinds: Sequence[CellKind], overlay: UInt8, name: str
    ) -> None:
        """Add a used frame with its overlay."""
        self.add_drawn(
            FramePicture(
                number=examined.frame.index,
                source=examined.frame.source,
                cells=len(kinds),
                suspicious=sum(kind.suspicious for kind in kinds),
                overlay=name,
                jpeg=b"",
                lost=lost_parts(examined.tiles),
            ),
            float(np.nanmax(examined.suspicion, initial=0.0)),
            overlay,
        )

    def add_drawn(self, picture: FramePicture, strongest: float, overlay: UInt8) -> None:
        """Keep a frame with its overlay, uint8 (H, W, 3) RGB, if it is among the best.

        picture : without its JPEG, which is made here. strongest : highest suspicion of its cells.
        """
        rank = (picture.suspicious, strongest, -picture.number)
        if len(self._frames) >= MOST_FRAMES and rank < self._frames[0][:3]:
            return
        jpeg = jpeg_bytes(shrunk(overlay, PAGE_FRAME_PX), quality=80)
        heapq.heappush(self._frames, (*rank, replace(picture, jpeg=jpeg)))
        if len(self._frames) > MOST_FRAMES:
            heapq.heappop(self._frames)

    def add_rejected(self, examined: ExaminedFrame) -> None:
        """Add a frame that was not used."""
        self.frames_rejected += 1
        if len(self.rejected) >= MOST_REJECTED:
            return
        jpeg = None
        if len(self.rejected) < MOST_REJECTED_PICTURES:
            jpeg = jpeg_bytes(shrunk(examined.frame.pixels, REJECTED_PX))
        reasons = tuple(reason.text for reason in examined.rejected)
        frame = examined.frame
        self.rejected.append(RejectedFrame(frame.index, frame.source, reasons, jpeg))

    def best_cells(self) -> list[CellPicture]:
        """Return the kept cells, most suspicious first."""
        return [entry[-1] for entry in sorted(self._best, key=lambda entry: (-entry[0], -entry[1]))]

    def best_frames(self) -> list[FramePicture]:
        """Return the kept frames, those with most suspicious cells first."""
        ranked = sorted(self._frames, key=lambda entry: entry[:3], reverse=True)
        return [entry[-1] for entry in ranked]

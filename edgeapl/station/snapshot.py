"""Immutable views of slide, cells and camera, as page and terminal show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeapl.capture.health import CameraHealth, CameraState
from edgeapl.pipeline import Progress
from edgeapl.report.cell_classes import cell_kinds, role_kinds
from edgeapl.report.context import ReportContext
from edgeapl.report.gallery import CellPicture
from edgeapl.report.outline import outlines
from edgeapl.report.pictures import draw_overlay, jpeg_bytes, shrunk
from edgeapl.station.access import CameraView, CellView, SlideView
from edgeapl.station.session import ClosedSlide, Session
from edgeapl.station.sources import Viewfinder
from edgeapl.types import Decision, ExaminedFrame, Frame, Reason, Tally, Verdict

OTHER_LABELS = ("other cell", "not a cell", "unsure")
"""What a person may call a cell besides the bundle's roles."""

LIVE_PX = 1280

_NOTHING_YET = Reason("nothing_yet", "no frame of this slide has been examined yet")


@dataclass(frozen=True, slots=True, eq=False)
class SlideSnapshot:
    """A slide at one moment; the last one stays visible until the next slide is opened.

    session : number of the examination.
    committed, record : the newest verdict in the journal, and the hash of its row.
    progress : of the examination. cells : most suspicious first.
    flagged : a flag was raised before an interruption. final, report : of a closed slide.
    """

    session: int
    slide: str
    budget_s: float
    committed: Verdict | None
    record: str
    progress: Progress | None
    examined: ExaminedFrame | None
    used: ExaminedFrame | None
    frames_used: int
    frames_rejected: int
    cells: tuple[CellPicture, ...]
    context: ReportContext
    flagged: bool = False
    open: bool = True
    waits: bool = False
    sitting: str = ""
    final: Verdict | None = None
    report: Path | None = None

    @property
    def tally(self) -> Tally:
        """What became of every cell so far."""
        return Tally() if self.progress is None else self.progress.verdict.tally

    @property
    def frames(self) -> int:
        """Frames finished so far."""
        return self.frames_used + self.frames_rejected

    def after_closing(self, closed: ClosedSlide | None) -> SlideSnapshot:
        """Return the snapshot of the slide once it is closed; None when closing failed."""
        if closed is None:
            return replace(self, open=False)
        record = closed.record["journal_record"]
        return replace(self, open=False, final=closed.verdict, record=record, report=closed.report)

    def view(self, now_ns: int) -> SlideView:
        """Return the view for people: the committed decision, with figures of this moment.

        The reasons are of this moment too, as long as they lead to the same decision.
        """
        committed = self.final or self.committed
        decision = committed.decision if committed else self._recovered
        newest = self.final or (self.progress.verdict if self.progress else None)
        if decision is None:
            newest = None  # no figures of half a frame without a decision
        waiting_ns = self.progress.waiting_ns if self.progress and self.open else None
        left_s = None if waiting_ns is None else self.budget_s - (now_ns - waiting_ns) / 1e9
        return SlideView(
            slide=self.slide,
            open=self.open,
            decision=decision,
            probability=newest.probability if newest else None,
            interval=newest.interval if newest else None,
            tally=newest.tally if newest else self.tally,
            counts=newest.counts if newest else (),
            reasons=_reasons(committed, newest),
            frames_used=self.frames_used,
            frames_rejected=self.frames_rejected,
            rejected=self.examined.rejected if self.examined else (),
            budget_s=self.budget_s,
            budget_left_s=None if left_s is None else max(0.0, left_s),
            record=self.record,
            report=self.report,
            limits=newest.limits if newest else None,
            examined_share=newest.examined_share if newest else None,
            flagged_since=newest.flagged_since if newest else "",
            current=newest.current if newest else None,
            waits=self.open and self.waits,
        )

    @property
    def _recovered(self) -> Decision | None:
        """The decision before the first frame: a flag from before the restart, or none."""
        return Decision.FLAG if self.flagged else None

    def examined_jpeg(self) -> tuple[int, bytes] | None:
        """Return number and JPEG of the newest used frame, its cells outlined."""
        used = self.used
        if used is None:
            return None
        kinds = cell_kinds(used, self.context, role_kinds(self.context))
        drawn = draw_overlay(used, kinds, outlines(used.detections), LIVE_PX)
        return used.frame.index, jpeg_bytes(drawn)


def _reasons(committed: Verdict | None, newest: Verdict | None) -> tuple[Reason, ...]:
    if committed is None:
        return (_NOTHING_YET,)
    agree = newest is not None and newest.decision is committed.decision
    return newest.reasons if newest is not None and agree else committed.reasons


def snapshot_of(session: Session, budget_s: float) -> SlideSnapshot:
    """Take a snapshot of an open session."""
    return SlideSnapshot(
        session=session.number,
        slide=session.slide,
        budget_s=budget_s,
        committed=session.committer.committed,
        record=session.committer.record,
        progress=session.progress,
        examined=session.examined,
        used=session.used,
        frames_used=session.frames[0],
        frames_rejected=session.frames[1],
        cells=session.best_cells,
        context=session.recorder.gallery.context,
        waits=session.waits,
        sitting=session.recorder.origin.sitting,
        flagged=session.options.flagged is not None,
    )


def cell_views(cells: Sequence[CellPicture], labels: Mapping[int, str]) -> tuple[CellView, ...]:
    """Return the views of cells, with the labels that people gave them."""
    return tuple(
        CellView(
            cell=cell.cell,
            status=cell.status,
            scores=tuple(cell.scores.items()),
            suspicion=cell.suspicion,
            label=labels.get(cell.cell),
        )
        for cell in cells
    )


def camera_view(name: str, health: CameraHealth, focus: float | None, now_ns: int) -> CameraView:
    """Return the view of a camera."""
    newest_ns = health.newest_ns
    return CameraView(
        name=name,
        state=health.state,
        text=health.text,
        width=health.width,
        height=health.height,
        frames_per_s=health.frames_per_s,
        age_s=None if newest_ns is None else max(0.0, (now_ns - newest_ns) / 1e9),
        received=health.received,
        dropped=health.dropped,
        restarts=health.restarts,
        focus=focus,
    )


def plain_health(view: Viewfinder) -> CameraHealth:
    """Return the health of an unsupervised source: a file, a folder, a demonstration."""
    newest: Frame | None = view.newest
    state = CameraState.LIVE if newest is not None else CameraState.OPENING
    if view.ended:
        state = CameraState.ENDED
    elif view.trouble:
        state = CameraState.FAILED
    size = (0, 0) if newest is None else (newest.width, newest.height)
    return CameraHealth(
        state=state,
        text="" if view.ended else view.trouble,
        width=size[0],
        height=size[1],
        newest_ns=None if newest is None else newest.captured_ns,
        received=0 if newest is None else newest.index + 1,
    )


def live_jpeg(frame: Frame) -> bytes:
    """Return a frame as JPEG, at most `LIVE_PX` wide."""
    return jpeg_bytes(shrunk(frame.pixels, LIVE_PX), quality=75)

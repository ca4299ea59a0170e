"""A station in memory, for tests of the page and for looking at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeapl.errors import IdentifierUsed, UsageError
from edgeapl.journal import SignOff
from edgeapl.report.pictures import CELL_PX, jpeg_bytes, shrunk
from edgeapl.sources.synthetic.smear import SyntheticFrame, draw_frame, slide_recipe
from edgeapl.stages.intervals import wilson
from edgeapl.station.access import (
    Alarm,
    CameraState,
    CameraView,
    CellView,
    HistoryItem,
    SlideView,
    StationView,
)
from edgeapl.types import CellStatus, Decision, Interval, Reason, RoleCount, Tally

LABELS = ("promyelocyte", "myeloblast", "neutrophil", "lymphocyte", "monocyte", "not a cell")
REPORT = "<!DOCTYPE html><html lang='en'><title>{0}</title><style>p{{color:#123}}</style><p>{0}"
SUSPICIOUS = ("apl_hypergranular", "apl_microgranular", "promyelocyte")


class FakeStation:
    """Implements StationAccess in memory; every method may be called from any thread.

    `examine` draws a field of cells and scores them as drawn.

    Parameters
    ----------
    folder : gets the reports.
    labels : those a person may give a cell.

    calls : every call that changed something, in order.
    """

    def __init__(self, folder: Path, labels: tuple[str, ...] = LABELS) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.hanging = threading.Event()
        self._folder = folder
        self._changed = threading.Condition(threading.RLock())
        self._frame: SyntheticFrame | None = None
        self._cells: dict[int, CellView] = {}
        self._pictures: dict[int, bytes] = {}
        self._live: tuple[int, bytes] | None = None
        self._boxed: tuple[int, bytes] | None = None
        self._history: list[HistoryItem] = []
        self._sitting = 0
        self._seen: set[str] = set()
        camera = CameraView("camera0", CameraState.OPENING, "", 0, 0, 0.0, None, 0, 0, 0, None)
        self._view = StationView(
            1, camera, None, "apl-demo 1.0", "b" * 64, "onnxruntime CPU", labels, ()
        )

    # -- what the page calls ---------------------------------------------------------------------

    def view(self) -> StationView:
        """Return the station as it is now."""
        self._hang()
        return self._view

    def wait(self, revision: int, timeout_s: float) -> StationView:
        """Return the station once its revision exceeds this one, or after the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._view.revision > revision, timeout_s)
        return self.view()

    def live_jpeg(self) -> tuple[int, bytes] | None:
        """Return number and JPEG of the newest picture."""
        self._hang()
        return self._live

    def examined_jpeg(self) -> tuple[int, bytes] | None:
        """Return number and JPEG of the newest examined frame."""
        self._hang()
        return self._boxed

    def cells(self, limit: int) -> Sequence[CellView]:
        """Return cells of the visible slide, the most suspicious first."""
        with self._changed:
            return sorted(self._cells.values(), key=lambda cell: -(cell.suspicion or 0))[:limit]

    def cell_jpeg(self, slide: str, cell: int) -> bytes | None:
        """Return a cell's picture."""
        shown = self._view.slide
        return self._pictures.get(cell) if shown is not None and shown.slide == slide else None

    def history(self, limit: int, demonstrations: bool = False) -> Sequence[HistoryItem]:
        """Return the newest closed slides, newest first."""
        with self._changed:
            wanted = [item for item in self._history if item.demonstration is demonstrations]
            return tuple(wanted[:limit])

    def report(self, record: str) -> Path | None:
        """Return the report of a record."""
        with self._changed:
            known = [item for item in self._history if item.record == record]
        if not known:
            raise UsageError("journal has no such row", record, "see the history")
        return known[0].report

    def start_slide(self, slide: str, again: bool = False) -> None:
        """Open a slide."""
        self._hang()
        if not again and any(item.slide == slide for item in self._history):
            raise IdentifierUsed("slide has a record already", f"{slide} (CLEAR)", "say so")
        if slide.startswith("."):
            raise UsageError("slide identifier is wrong", slide, "start it with a letter or digit")
        with self._changed:
            self.close_slide()
            self.calls.append(("start", slide))
            self._cells, self._pictures, self._boxed = {}, {}, None
            reasons = (Reason("nothing_yet", "no frame of this slide has been examined yet"),)
            self._sitting += 1
            view = SlideView(
                slide, True, None, None, None, Tally(), (), reasons,
                0, 0, (), 45.0, None, "", None,
            )  # fmt: skip
            self.show(slide=view)

    def resume_slide(self, slide: str) -> None:
        """Continue a slide that waits."""
        with self._changed:
            shown = self._view.slide
            if shown is None or shown.slide != slide or not shown.waits:
                raise UsageError("slide does not wait to continue", slide, "start it")
            self.calls.append(("go on", slide))
            self.slide(waits=False)

    def close_slide(self) -> None:
        """Close the open slide."""
        with self._changed:
            slide = self._view.slide
            if slide is None or not slide.open:
                return
            self.calls.append(("close", slide.slide))
            record = f"{len(self._history) + 1:064x}"
            report = self._folder / f"{record}.html"
            report.write_text(REPORT.format(f"Report {len(self._history) + 1}"), encoding="utf-8")
            decision = slide.decision or Decision.REVIEW
            item = HistoryItem(
                slide.slide, "2026-01-05T10:20:30+00:00", decision.value,
                slide.probability, record, report, 0,
            )  # fmt: skip
            self._history.insert(0, item)
            closed = replace(
                slide,
                open=False,
                decision=decision,
                record=record,
                report=report,
                budget_left_s=None,
            )
            self.show(slide=closed)

    def reclassify(self, slide: str, cell: int, label: str, person: str) -> str:
        """Record a person's label for a cell."""
        with self._changed:
            shown = self._view.slide
            if shown is None or shown.slide != slide or cell not in self._cells:
                raise UsageError("there is no such cell", f"{cell} of {slide}", "load the page")
            if label not in self._view.labels:
                raise UsageError("there is no such label", label, "choose one of those shown")
            self.calls.append(("reclassify", slide, cell, label, person))
            self._cells[cell] = replace(self._cells[cell], label=label)
            self.show()
            return "a" * 64

    def sign_off(self, record: str, said: SignOff) -> str:
        """Record a person's sign-off of a verdict."""
        with self._changed:
            self.calls.append(("sign off", record, said))
            signed = f"{said.words} by {said.person}"
            self._history = [
                replace(item, signed=signed) if item.record == record else item
                for item in self._history
            ]
            self.show()
            return "d" * 64

    def acknowledge(self, record: str, person: str) -> str:
        """Take a flag away; as at a station, only once."""
        with self._changed:
            standing = tuple(one for one in self._view.alarms if one.record != record)
            if len(standing) == len(self._view.alarms):
                raise UsageError("there is no such flag", record[:16], "load the page again")
            self.calls.append(("acknowledge", record, person))
            self.show(alarms=standing)
            return "e" * 64

    def metrics(self) -> dict[str, Any]:
        """Return counters and gauges by name."""
        camera = self._view.camera
        return {"frames_received_total": camera.received, "camera_focus": camera.focus}

    # -- what a test does -----------------------------------------------------------------------

    def show(self, **changes: Any) -> None:
        """Change fields of the view."""
        with self._changed:
            revision = self._view.revision + 1
            self._view = replace(self._view, **{**changes, "revision": revision})
            self._changed.notify_all()

    def past(self, item: HistoryItem) -> None:
        """Add a slide to the history."""
        with self._changed:
            self._history.insert(0, item)
            self.show()

    def camera(self, state: CameraState, text: str = "", **changes: Any) -> None:
        """Change fields of the camera."""
        self.show(camera=replace(self._view.camera, state=state, text=text, **changes))

    def slide(self, **changes: Any) -> None:
        """Change fields of the slide."""
        slide = self._view.slide
        assert slide is not None
        self.show(slide=replace(slide, **changes))

    def capture(self, kind: str = "apl", seed: int = 1, **optics: float) -> None:
        """Take a drawn picture."""
        recipe = slide_recipe(kind, seed, width=1280, height=960, um_per_px=0.2, **optics)
        with self._changed:
            received = self._view.camera.received + 1
            self._frame = draw_frame(recipe, received)
            self._live = (received, jpeg_bytes(self._frame.pixels))
            self.camera(
                CameraState.LIVE, width=1280, height=960, frames_per_s=14.8, age_s=0.1,
                received=received, focus=1.7,
            )  # fmt: skip

    def examine(self, decision: Decision, reasons: Sequence[str], probability: float) -> None:
        """Score the cells of the newest picture and answer so."""
        with self._changed:
            frame, slide = self._frame, self._view.slide
            assert frame is not None
            assert slide is not None
            random = np.random.default_rng(len(self._cells))
            for row, name in enumerate(frame.classes):
                self._add_cell(frame, row, name in SUSPICIOUS, float(random.uniform(0, 0.2)))
            self._boxed = (self._view.camera.received, _boxed(frame))
            scored = len(self._cells)
            self.slide(
                decision=decision,
                probability=probability,
                interval=Interval(max(0, probability - 0.05), min(1, probability + 0.03)),
                tally=Tally(scored + 2, scored, 2, 0),
                counts=tuple(self._count(role) for role in ("promyelocyte", "auer_rod")),
                reasons=tuple(Reason("r", text) for text in reasons),
                frames_used=slide.frames_used + 1,
                budget_left_s=31.0,
                record="c" * 64,
            )
            if decision is Decision.FLAG:
                self._raise_flag(slide.slide, probability)

    def _raise_flag(self, slide: str, probability: float) -> None:
        """Raise an alarm for the first flag of a slide."""
        record = f"{self._sitting:064x}"
        if record in self._seen:
            return
        self._seen.add(record)
        time = "2026-01-05T10:20:30+00:00"
        alarm = Alarm(record, f"{self._sitting}", slide, time, probability, False)
        self.show(alarms=(alarm, *self._view.alarms))

    def _add_cell(
        self,
        frame: SyntheticFrame,
        row: int,
        suspicious: bool,
        noise: float,
    ) -> None:
        number = len(self._cells)
        value = 1 - noise if suspicious else noise
        rod = 0.9 - noise if frame.auer_rods[row] else noise / 2
        self._cells[number] = CellView(
            number,
            CellStatus.SCORED,
            (("promyelocyte", value), ("auer_rod", rod)),
            max(value, rod),
            None,
        )
        x0, y0, x1, y1 = frame.boxes[row].astype(int)
        cut = np.ascontiguousarray(frame.pixels[y0:y1, x0:x1])
        self._pictures[number] = jpeg_bytes(
            np.asarray(cv2.resize(cut, (CELL_PX, CELL_PX)), dtype=np.uint8)
        )

    def _count(self, role: str) -> RoleCount:
        values = [dict(cell.scores)[role] for cell in self._cells.values()]
        positive = sum(value >= 0.5 for value in values)
        around = wilson(positive, len(values), 0.95)
        return RoleCount(role, positive, len(values), positive / len(values), around)

    def _hang(self) -> None:
        """Block the caller, as a stuck station does, until `hanging` is cleared."""
        while self.hanging.is_set():
            time.sleep(0.02)


def _boxed(frame: SyntheticFrame) -> bytes:
    picture = frame.pixels.copy()
    for name, box in zip(frame.classes, frame.boxes.astype(int), strict=True):
        colour = (213, 94, 0) if name in SUSPICIOUS else (0, 114, 178)
        cv2.rectangle(picture, box[:2].tolist(), box[2:].tolist(), colour, 4)
    return jpeg_bytes(shrunk(picture, 1280))

"""The station as page and terminal see it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeapl.capture.health import CameraHealth
from edgeapl.capture.source import SupervisedSource
from edgeapl.errors import UsageError
from edgeapl.journal import AMENDMENT, SignOff, append_sign_off, find_record
from edgeapl.report.versions import located_report
from edgeapl.stages.find_disc import find_disc
from edgeapl.stages.focus import focus_measure
from edgeapl.station.access import CellView, HistoryItem, StationView
from edgeapl.station.history import history_of
from edgeapl.station.identifiers import LONGEST_NAME
from edgeapl.station.metrics import station_metrics
from edgeapl.station.snapshot import (
    OTHER_LABELS,
    camera_view,
    cell_views,
    live_jpeg,
    plain_health,
)
from edgeapl.station.station import Station
from edgeapl.types import Frame, signer_text
from edgeapl.wording.certificate import summarise_certificate

FOCUS_EVERY_S = 0.5


class StationService:
    """Implements StationAccess; any thread may call any method."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._lock = threading.Lock()
        self._focus: tuple[float, int, float] | None = None  # when, frame, measure
        self._live_jpeg: tuple[int, bytes] | None = None
        self._labels: dict[tuple[int, int], str] = {}  # by session and cell
        self._amendments = 0

    def start_slide(self, slide: str, again: bool = False) -> None:
        """Open a slide; see `edgeapl.station.access.StationAccess`."""
        self._station.start_slide(slide, again)

    def resume_slide(self, slide: str) -> None:
        """Take new frames into an interrupted slide that waits for this. Raises UsageError."""
        self._station.resume_slide(slide)

    def close_slide(self) -> None:
        """Close the open slide: judge and commit what was captured. Does nothing without one."""
        self._station.close_slide()

    def reclassify(self, slide: str, cell: int, label: str, person: str) -> str:
        """Record a person's label for a cell; see `edgeapl.station.access.StationAccess`."""
        snapshot = self._station.snapshot()
        cells = () if snapshot is None or snapshot.slide != slide else snapshot.cells
        picture = next((known for known in cells if known.cell == cell), None)
        if snapshot is None or picture is None:
            raise UsageError("no such cell", f"{cell} of {slide}", "choose one of the gallery")
        if label not in self._label_names():
            known = ", ".join(self._label_names())
            raise UsageError("no such name for a cell", label, f"use {known}")
        row = self._station.journal.append_event(
            AMENDMENT,
            {
                "slide": slide,
                "record": snapshot.record,
                "sitting": snapshot.sitting,
                "cell": cell,
                "scores": dict(picture.scores),
                "label": label,
                "person": person.strip()[:LONGEST_NAME],
            },
        )
        with self._lock:
            self._labels[snapshot.session, cell] = label
            self._amendments += 1
        self._station.add_amendment(snapshot.record)
        self._station.changes.notify()
        return row

    def sign_off(self, record: str, said: SignOff) -> str:
        """Record a person's sign-off of a verdict; see `edgeapl.station.access.StationAccess`."""
        journal = self._station.journal
        row = append_sign_off(journal, find_record(journal.path, record), said)
        self._station.standing.ended()  # an overruled CLEAR ends what the model may clear
        self._station.update_report(record)
        self._station.changes.notify()
        return row

    def report(self, record: str) -> Path | None:
        """Return the report of a record; None when there is none."""
        found = find_record(self._station.journal.path, record)
        return located_report(found, self._station.options.out)

    def acknowledge(self, record: str, person: str) -> str:
        """Record who has seen a flag; see `edgeapl.station.access.StationAccess`."""
        return self._station.alerts.acknowledge(record, person)

    def view(self) -> StationView:
        """Return the station as it is now."""
        station = self._station
        revision, snapshot = station.changes.revision, station.snapshot()
        model, now_ns = station.hosted.model, time.monotonic_ns()
        manifest = model.bundle.manifest
        return StationView(
            revision=revision,
            camera=camera_view(station.options.camera, self._health(), self._focus_now(), now_ns),
            slide=None if snapshot is None else snapshot.view(now_ns),
            model=f"{manifest.name} {manifest.version}",
            bundle_digest=model.bundle.digest,
            runtime=model.runtime,
            labels=self._label_names(),
            trouble=station.trouble,
            alarms=station.alerts.unacknowledged,
            signed_by=signer_text(model.bundle.signer),
            may_clear=self._may_clear(),
        )

    def _may_clear(self) -> str:
        """Return what proves that the bundle may clear, or why it clears nothing here."""
        clearing = self._station.hosted.model.clearing
        ended = self._station.standing.last
        return ended or clearing.without or summarise_certificate(clearing.certificate)

    def wait(self, revision: int, timeout_s: float) -> StationView:
        """Return the station once its revision exceeds this one, or after the timeout."""
        self._station.changes.wait(revision, timeout_s)
        return self.view()

    def live_jpeg(self) -> tuple[int, bytes] | None:
        """Return number and JPEG of the newest picture; None before the first."""
        newest, known = self._station.viewfinder.newest, self._live_jpeg
        if newest is None:
            return None
        if known is None or known[0] != newest.index:
            self._live_jpeg = known = (newest.index, live_jpeg(newest))
        return known

    def examined_jpeg(self) -> tuple[int, bytes] | None:
        """Return number and JPEG of the newest examined frame, its cells outlined."""
        snapshot = self._station.snapshot()
        return None if snapshot is None else snapshot.examined_jpeg()

    def cells(self, limit: int) -> Sequence[CellView]:
        """Return cells of the visible slide, the most suspicious first."""
        snapshot = self._station.snapshot()
        if snapshot is None:
            return ()
        with self._lock:
            labels = {
                cell: label
                for (session, cell), label in self._labels.items()
                if session == snapshot.session
            }
        return cell_views(snapshot.cells[:limit], labels)

    def cell_jpeg(self, slide: str, cell: int) -> bytes | None:
        """Return a cell's picture; None when there is none (any more)."""
        snapshot = self._station.snapshot()
        if snapshot is None or snapshot.slide != slide:
            return None
        return next((known.jpeg for known in snapshot.cells if known.cell == cell), None)

    def history(self, limit: int, demonstrations: bool = False) -> Sequence[HistoryItem]:
        """Return the newest closed slides, newest first: patients', or only demonstrations."""
        path, out = self._station.journal.path, self._station.options.out
        return history_of(path, out, limit, demonstrations=demonstrations)

    def metrics(self) -> dict[str, Any]:
        """Return counters and gauges by name, for the metrics endpoint."""
        return station_metrics(self._station, self._health(), self._amendments)

    def _health(self) -> CameraHealth:
        source = self._station.viewfinder.source
        if isinstance(source, SupervisedSource):
            return source.health()
        return plain_health(self._station.viewfinder)

    def _focus_now(self) -> float | None:
        """Return the focus of the newest frame, measured every `FOCUS_EVERY_S`."""
        newest = self._station.viewfinder.newest
        if newest is None:
            return None
        known, now = self._focus, time.monotonic()
        if known is None or (known[1] != newest.index and now - known[0] > FOCUS_EVERY_S):
            self._focus = known = (now, newest.index, self._measured_focus(newest))
        return known[2]

    def _measured_focus(self, frame: Frame) -> float:
        least = self._station.hosted.model.bundle.manifest.gate.min_focus
        if least <= 0:
            return 1.0
        disc = find_disc(frame.pixels)
        pixels = frame.pixels if disc is None else frame.pixels[disc.core]
        return focus_measure(pixels, frame.um_per_px) / least

    def _label_names(self) -> tuple[str, ...]:
        roles = tuple(role.name for role in self._station.hosted.model.bundle.manifest.roles)
        return (*roles, *OTHER_LABELS)

"""What people see of the station and tell it: implements StationAccess for page and terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeapl.capture.health import CameraHealth, CameraState
from edgeapl.capture.source import SupervisedSource
from edgeapl.errors import UsageError
from edgeapl.journal import AMENDMENT, SignOff, append_sign_off, find_record
from edgeapl.report.versions import located_report
from edgeapl.stages.find_disc import find_disc
from edgeapl.stages.focus import focus_measure
from edgeapl.station import snapshot
from edgeapl.station.access import WAITING, CellView, HistoryItem, StationView
from edgeapl.station.history import history_of
from edgeapl.station.station import LONGEST_NAME, Station
from edgeapl.types import Decision, Frame, signer_text
from edgeapl.wording.certificate import certificate_in_short

FOCUS_EVERY_S = 0.5


class Desk:
    """Implements StationAccess; every method may be called from any thread."""

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

    def go_on(self, slide: str) -> None:
        """Take new frames into a slide that was left open and waits. Raises UsageError."""
        self._station.go_on(slide)

    def close_slide(self) -> None:
        """Close the open slide: what was captured is judged and committed. Without one, nothing."""
        self._station.close_slide()

    def reclassify(self, slide: str, cell: int, label: str, person: str) -> str:
        """Record what a person calls a cell; see `edgeapl.station.access.StationAccess`."""
        shown = self._station.shown()
        cells = () if shown is None or shown.slide != slide else shown.cells
        picture = next((known for known in cells if known.cell == cell), None)
        if shown is None or picture is None:
            raise UsageError("no such cell", f"{cell} of {slide}", "choose one of the gallery")
        if label not in self._label_names():
            known = ", ".join(self._label_names())
            raise UsageError("no such name for a cell", label, f"use {known}")
        row = self._station.journal.append_event(
            AMENDMENT,
            {
                "slide": slide,
                "record": shown.record,
                "sitting": shown.sitting,
                "cell": cell,
                "scores": dict(picture.scores),
                "label": label,
                "person": person.strip()[:LONGEST_NAME],
            },
        )
        with self._lock:
            self._labels[shown.session, cell] = label
            self._amendments += 1
        self._station.note_amendment(shown.record)
        self._station.changed()
        return row

    def sign_off(self, record: str, said: SignOff) -> str:
        """Record a person's word on a verdict; see `edgeapl.station.access.StationAccess`."""
        journal = self._station.journal
        row = append_sign_off(journal, find_record(journal.path, record), said)
        self._station.standing.ended()  # an overruled CLEAR ends what the model may clear
        self._station.renew_report(record)
        self._station.changed()
        return row

    def report(self, record: str) -> Path | None:
        """Give the report of a record; None when there is none."""
        found = find_record(self._station.journal.path, record)
        return located_report(found, self._station.options.out)

    def acknowledge(self, record: str, person: str) -> str:
        """Record who has seen a flag; see `edgeapl.station.access.StationAccess`."""
        return self._station.alerts.acknowledge(record, person)

    def view(self) -> StationView:
        """Give the station as it is now."""
        station = self._station
        revision, shown = station.revision, station.shown()
        model, now_ns = station.hosted.model, time.monotonic_ns()
        manifest = model.bundle.manifest
        return StationView(
            revision=revision,
            camera=snapshot.camera_view(
                station.options.camera, self._health(), self._focus_now(), now_ns
            ),
            slide=None if shown is None else shown.view(now_ns),
            model=f"{manifest.name} {manifest.version}",
            bundle_digest=model.bundle.digest,
            runtime=model.runtime,
            labels=self._label_names(),
            trouble=station.trouble,
            alarms=station.alerts.standing,
            signed_by=signer_text(model.bundle.signer),
            may_clear=self._may_clear(),
        )

    def _may_clear(self) -> str:
        """Say what proves that the bundle may clear, or why it clears nothing here."""
        clearing = self._station.hosted.model.clearing
        ended = self._station.standing.last
        return ended or clearing.without or certificate_in_short(clearing.certificate)

    def wait(self, revision: int, timeout_s: float) -> StationView:
        """Give the station as soon as its revision is above this one, or after the timeout."""
        self._station.wait(revision, timeout_s)
        return self.view()

    def live_jpeg(self) -> tuple[int, bytes] | None:
        """Give number and JPEG of the newest picture; None before it."""
        newest, known = self._station.viewfinder.newest, self._live_jpeg
        if newest is None:
            return None
        if known is None or known[0] != newest.index:
            self._live_jpeg = known = (newest.index, snapshot.live_jpeg(newest))
        return known

    def examined_jpeg(self) -> tuple[int, bytes] | None:
        """Give number and JPEG of the newest examined frame, its cells outlined."""
        shown = self._station.shown()
        return None if shown is None else shown.examined_jpeg()

    def cells(self, limit: int) -> Sequence[CellView]:
        """Give cells of the slide shown, the most suspicious first."""
        shown = self._station.shown()
        if shown is None:
            return ()
        with self._lock:
            labels = {
                cell: label
                for (session, cell), label in self._labels.items()
                if session == shown.session
            }
        return snapshot.cell_views(shown.cells[:limit], labels)

    def cell_jpeg(self, slide: str, cell: int) -> bytes | None:
        """Give a cell's picture; None when there is none (any more)."""
        shown = self._station.shown()
        if shown is None or shown.slide != slide:
            return None
        return next((known.jpeg for known in shown.cells if known.cell == cell), None)

    def history(self, limit: int, demonstrations: bool = False) -> Sequence[HistoryItem]:
        """Give the newest closed slides, newest first: patients', or demonstrations alone."""
        path, out = self._station.journal.path, self._station.options.out
        return history_of(path, out, limit, demonstrations=demonstrations)

    def metrics(self) -> dict[str, Any]:
        """Give counters and gauges by name, for the metrics endpoint."""
        health, counts = self._health(), self._station.counts()
        open_now, slowest_s = counts.pop("slide_open"), counts.pop("slowest_s")
        return {
            **{f"edgeapl_{name}_total": value for name, value in counts.items()},
            "edgeapl_amendments_total": self._amendments,
            "edgeapl_flags_unacknowledged": float(len(self._station.alerts.standing)),
            "edgeapl_flag_commands_failed_total": self._station.alerts.failures,
            "edgeapl_slide_state": self._slide_states(),
            "edgeapl_camera_live": float(health.state is CameraState.LIVE),
            "edgeapl_camera_received_total": health.received,
            "edgeapl_camera_dropped_total": health.dropped,
            "edgeapl_camera_restarts_total": health.restarts,
            "edgeapl_network_restarts_total": self._station.hosted.restarts,
            "edgeapl_slide_open": open_now,
            "edgeapl_slowest_commit_seconds": slowest_s,
            "edgeapl_budget_seconds": self._station.options.budget_s,
        }

    def _slide_states(self) -> dict[str, float]:
        """Give 1 for what the open slide is now, 0 for all else."""
        shown = self._station.shown()
        now = ""
        if shown is not None and shown.open:
            decision = shown.view(time.monotonic_ns()).decision
            now = WAITING if decision is None else decision.value
        names = (WAITING, *(decision.value for decision in Decision))
        return {name.replace(" ", "_"): float(name == now) for name in names}

    def _health(self) -> CameraHealth:
        source = self._station.viewfinder.source
        if isinstance(source, SupervisedSource):
            return source.health()
        return snapshot.plain_health(self._station.viewfinder)

    def _focus_now(self) -> float | None:
        """Give the focus of the newest frame, measured now and then."""
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
        return (*roles, *snapshot.OTHER_LABELS)

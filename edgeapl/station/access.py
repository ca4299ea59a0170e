"""What a station shows and which requests it takes: all that page and terminal know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgeapl.capture.health import CameraState
from edgeapl.journal import SignOff
from edgeapl.journal.alarms import Alarm
from edgeapl.types import (
    UNSIGNED,
    CellStatus,
    Decision,
    Figures,
    Interval,
    Limits,
    Reason,
    RoleCount,
    Tally,
)
from edgeapl.wording.certificate import CLEARS_NOTHING

WAITING = "waiting for the first frame"
"""Shown in place of a decision until there is one."""

__all__ = [
    "WAITING",
    "Alarm",
    "CameraState",
    "CameraView",
    "CellView",
    "HistoryItem",
    "SlideView",
    "StationAccess",
    "StationView",
]


@dataclass(frozen=True, slots=True)
class CameraView:
    """The camera at one moment.

    name : as the person wrote it, e.g. ``camera0``.
    text : one plain sentence: what is wrong and how to fix it; empty while all is well.
    width, height : px of the newest picture; 0 before the first.
    frames_per_s : over the last seconds.
    age_s : seconds since the newest picture was taken; None before the first.
    received, dropped, restarts : counts since the station was started.
    focus : of the newest picture relative to the bundle's minimum: 1 is the limit, above is sharp;
        None before the first.
    """

    name: str
    state: CameraState
    text: str
    width: int
    height: int
    frames_per_s: float
    age_s: float | None
    received: int
    dropped: int
    restarts: int
    focus: float | None


@dataclass(frozen=True, slots=True)
class SlideView:
    """The open slide, or the one closed last.

    open : False once its verdict is final.
    decision, probability, interval, tally, counts, reasons : the current answer; provisional while
        the slide is open. No decision before its first frame.
    frames_used, frames_rejected : fields of view.
    rejected : why the gate rejected the newest frame; empty when it was used.
    budget_s, budget_left_s : seconds from a frame's capture to the committed verdict, and those
        left for the oldest unanswered frame; None when no frame waits.
    record : hash of the newest committed row; empty before the first.
    report : page of the closed slide; None while it is open.
    examined_share : share of the used frames' field that was examined, 0 to 1; None before.
    limits, flagged_since, current : as in `edgeapl.types.Verdict`.
    waits : it was left open when the station stopped and takes no new frame before `resume_slide`.
    """

    slide: str
    open: bool
    decision: Decision | None
    probability: float | None
    interval: Interval | None
    tally: Tally
    counts: tuple[RoleCount, ...]
    reasons: tuple[Reason, ...]
    frames_used: int
    frames_rejected: int
    rejected: tuple[Reason, ...]
    budget_s: float
    budget_left_s: float | None
    record: str
    report: Path | None
    limits: Limits | None = None
    flagged_since: str = ""
    current: Figures | None = None
    waits: bool = False
    examined_share: float | None = None


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell of the visible slide.

    cell : its number within the slide.
    scores : role to probability; empty when it was not scored.
    suspicion : 0 to 1, the gallery's sort key; None when the cell was not scored.
    label : given by a person, or None.
    """

    cell: int
    status: CellStatus
    scores: tuple[tuple[str, float], ...]
    suspicion: float | None
    label: str | None


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """A closed slide in the journal.

    time : UTC, ISO 8601. record : hash of its row. report : its page if it is still there.
    amendments : number of cells that people have relabelled.
    limits : those the probability was compared with; empty in rows of older versions.
    demonstration : not a patient's. signed : the last sign-off and whose; empty without one.
    """

    slide: str
    time: str
    decision: str
    probability: float | None
    record: str
    report: Path | None
    amendments: int
    limits: tuple[float, ...] = ()
    demonstration: bool = False
    signed: str = ""


@dataclass(frozen=True, slots=True)
class StationView:
    """The whole station at one moment.

    revision : grows with every change.
    slide : None before the first slide.
    model : name and version of the bundle. runtime : what runs its networks.
    labels : those a person may give a cell.
    trouble : sentences about what is wrong at the station itself (disk, networks); shown in red.
    alarms : flags that nobody has acknowledged, newest first.
    signed_by : who signed the bundle, or ``unsigned``.
    may_clear : what proves that the bundle may clear, or why it clears nothing.
    """

    revision: int
    camera: CameraView
    slide: SlideView | None
    model: str
    bundle_digest: str
    runtime: str
    labels: tuple[str, ...]
    trouble: tuple[str, ...]
    signed_by: str = UNSIGNED
    may_clear: str = CLEARS_NOTHING
    alarms: tuple[Alarm, ...] = ()


class StationAccess(Protocol):
    """What the page may see and do. Any thread may call any method."""

    def view(self) -> StationView:
        """Return the station as it is now."""

    def wait(self, revision: int, timeout_s: float) -> StationView:
        """Return the station once its revision exceeds this one, or after the timeout."""

    def live_jpeg(self) -> tuple[int, bytes] | None:
        """Return number and JPEG (at most 1280 px wide) of the newest picture; None before it."""

    def examined_jpeg(self) -> tuple[int, bytes] | None:
        """Return number and JPEG of the newest examined frame, its cells outlined."""

    def cells(self, limit: int) -> Sequence[CellView]:
        """Return cells of the visible slide, the most suspicious first."""

    def cell_jpeg(self, slide: str, cell: int) -> bytes | None:
        """Return a cell's picture; None when there is none (any more)."""

    def history(self, limit: int, demonstrations: bool = False) -> Sequence[HistoryItem]:
        """Return the newest closed slides, newest first: patients', or only demonstrations."""

    def report(self, record: str) -> Path | None:
        """Return the report of the record with this hash; None when it is gone.

        Raises UsageError when there is no such record.
        """

    def start_slide(self, slide: str, again: bool = False) -> None:
        """Open a slide and close the open one. Raises UsageError for a bad identifier.

        again : open one more record of an identifier that has one; otherwise that raises
            IdentifierUsed.
        """

    def resume_slide(self, slide: str) -> None:
        """Take new frames into an interrupted slide that waits for this.

        Raises UsageError when it does not wait.
        """

    def close_slide(self) -> None:
        """Close the open slide: judge and commit what was captured. Does nothing without one."""

    def reclassify(self, slide: str, cell: int, label: str, person: str) -> str:
        """Record a person's label for a cell as an amendment; return the hash of its row.

        The verdict and its row do not change. Raises UsageError for an unknown cell or label.
        """

    def sign_off(self, record: str, said: SignOff) -> str:
        """Record a person's sign-off of a final verdict as an amendment; return its row's hash.

        The verdict and its row do not change. Raises UsageError when there is no such record.
        """

    def acknowledge(self, record: str, person: str) -> str:
        """Record who has seen a flag; return the hash of the row.

        record : of the alarm. Raises UsageError when there is no such flag or it was acknowledged
        before.
        """

    def metrics(self) -> dict[str, Any]:
        """Return counters and gauges by name, for the metrics endpoint."""

"""What a station shows, and what a person may tell it; the page and the terminal know only this."""

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
"""What stands in place of a decision until there is one."""

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
    text : one plain sentence: what is wrong and how to mend it; empty while all is well.
    width, height : px of the newest picture; 0 before the first.
    frames_per_s : over the last seconds.
    age_s : seconds since the newest picture was taken; None before the first.
    received, dropped, restarts : counts since the station was started.
    focus : of the newest picture relative to the least the bundle takes: 1 is the limit, above is
        sharp; None before the first.
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
    """The open slide, or the one that was closed last.

    open : False once its verdict is final.
    decision, probability, interval, tally, counts, reasons : the answer as it stands; while the
        slide is open it is provisional. No decision while it waits for its first frame.
    frames_used, frames_rejected : fields of view.
    rejected : the newest frame's reasons when the gate turned it away; empty when it was used.
    budget_s, budget_left_s : seconds from a frame's capture to the committed verdict, and what is
        left of them for the oldest frame that is not answered yet; None when none waits.
    record : hash of the newest committed row; empty before the first.
    report : page of the closed slide; None while it is open.
    examined_share : share of the used frames' field that was examined, 0 to 1; None before.
    limits, flagged_since, current : as in `edgeapl.types.Verdict`.
    waits : it was left open when the station stopped and takes no new frame before `go_on`.
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
    """One cell of the slide shown.

    cell : its number within the slide.
    scores : role to probability; empty when it was not scored.
    suspicion : 0 to 1, what the gallery is sorted by; None when it was not scored.
    label : what a person called it, or None.
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
    amendments : how many cells a person has called otherwise.
    limits : that the probability was compared with; none in rows of older versions.
    demonstration : of no patient. signed : what was said last and by whom; empty when nobody did.
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
    """Everything at one moment.

    revision : grows with every change.
    slide : None before the first slide.
    model : name and version of the bundle. runtime : what runs its networks.
    labels : what a person may call a cell.
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
    """What the page may see and do. Every method may be called from any thread."""

    def view(self) -> StationView:
        """Give the station as it is now."""

    def wait(self, revision: int, timeout_s: float) -> StationView:
        """Give the station as soon as its revision is above this one, or after the timeout."""

    def live_jpeg(self) -> tuple[int, bytes] | None:
        """Give number and JPEG (at most 1280 px wide) of the newest picture; None before it."""

    def examined_jpeg(self) -> tuple[int, bytes] | None:
        """Give number and JPEG of the newest examined frame, its cells boxed by suspicion."""

    def cells(self, limit: int) -> Sequence[CellView]:
        """Give cells of the slide shown, the most suspicious first."""

    def cell_jpeg(self, slide: str, cell: int) -> bytes | None:
        """Give a cell's picture; None when there is none (any more)."""

    def history(self, limit: int, demonstrations: bool = False) -> Sequence[HistoryItem]:
        """Give the newest closed slides, newest first: patients', or demonstrations alone."""

    def report(self, record: str) -> Path | None:
        """Give the report of the record with this hash; None when it is gone.

        Raises UsageError when there is no such record.
        """

    def start_slide(self, slide: str, again: bool = False) -> None:
        """Open a slide; closes the one that is open. Raises UsageError for a bad identifier.

        again : open one more record of an identifier that has one. Else that raises IdentifierUsed.
        """

    def go_on(self, slide: str) -> None:
        """Take new frames into a slide that was left open and waits.

        Raises UsageError when it does not.
        """

    def close_slide(self) -> None:
        """Close the open slide: what was captured is judged and committed. Without one, nothing."""

    def reclassify(self, slide: str, cell: int, label: str, person: str) -> str:
        """Record what a person calls a cell, as an amendment; gives the hash of its row.

        The verdict and its row stay as they are. Raises UsageError for an unknown cell or label.
        """

    def sign_off(self, record: str, said: SignOff) -> str:
        """Record a person's word on a final verdict, as an amendment; gives the hash of its row.

        The verdict and its row stay as they are. Raises UsageError when there is no such record.
        """

    def acknowledge(self, record: str, person: str) -> str:
        """Record who has seen a flag; gives the hash of the row.

        record : of the alarm. Raises UsageError when there is no such flag or it was seen before.
        """

    def metrics(self) -> dict[str, Any]:
        """Give counters and gauges by name, for the metrics endpoint."""

"""How a slide is to be examined, and what is reported meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from edgeapl.errors import EdgeAplError
from edgeapl.examination import FrameStore
from edgeapl.stages.findings import Finding
from edgeapl.types import ExaminedFrame, Frame, RaisedFlag, Verdict

RESERVE_S = 2.0
"""Kept back from the budget: a cancelled run is back or ended within 0.5 s, the head has 1 s, and
a commit takes milliseconds."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long an answer may take.

    seconds : from the capture of a frame to the committed verdict that takes it into account;
        above `RESERVE_S`. A file has no capture: its time starts when it is prepared.
    cancel_cells, cancel_segmenting : set the time at which a run of those networks is cancelled,
        monotonic ns, None for never. The run then raises DeadlineError.
    abort : once set, every cell without an answer is given up: the station must end.
    reserve_s : kept back for what comes after the cells, but at most half of what is left by
        `RESERVE_S`.
    """

    seconds: float
    cancel_cells: Callable[[int | None], None] = lambda at_ns: None
    cancel_segmenting: Callable[[int | None], None] = lambda at_ns: None
    abort: threading.Event = field(default_factory=threading.Event)
    reserve_s: float = RESERVE_S

    def with_abort(self, abort: threading.Event) -> Budget:
        """Return the same budget with this event."""
        return replace(self, abort=abort)

    def cutoff_ns(self, start_ns: int) -> int:
        """Return the time at which cells of a frame without an answer are given up."""
        left_s = self.seconds - RESERVE_S
        more_s = min(self.reserve_s - RESERVE_S, max(0.0, left_s / 2))
        return start_ns + int((left_s - more_s) * 1e9)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an examination stands.

    verdict : the answer as it stands, not committed.
    frames : frames finished so far, rejected ones included.
    finished_ns : when the time of the frame that was just finished started, monotonic; None when
        this is about an open frame, or about nothing new.
    waiting_ns : the same of the oldest open frame; None when there is none.
    cut : whether cells of the finished frame were given up.
    """

    verdict: Verdict
    frames: int
    finished_ns: int | None = None
    waiting_ns: int | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class SlideOptions:
    """How to examine a slide.

    crops : every image is one cell.
    batch_size : cells in one run of a network; None for what is best for the model.
    findings : what is known about the slide before it is examined.
    max_frames : stop after this many frames; None for all.
    stop_when_idle : end a live slide when no frame came for this many seconds; None for never.
    budget : cells are looked at in the order of `edgeapl.stages.cell_order`, given up in time; None
        to look at all of them however long it takes.
    flagged : the flag that was raised before the slide was taken up again; None without one.
    stop_error : with a budget, cells are left out once the flag is decided without them; the
        chance, per slide, that all of them would not have given it. None to look at all.
    sampled : the frames were chosen among many that would do as well, so one that cannot be used
        is passed over, as at a camera; too many of them bar CLEAR.
    first_look : the slide is judged frame by frame, and ends with the frame at which the rule is
        decided, tested from so many scored cells on; see `edgeapl.examination.SlideExamination`.
        None to examine all frames.
    store : keeps the frames that are answered, and has those of an earlier run; None without.
    """

    crops: bool = False
    batch_size: int | None = None
    findings: tuple[Finding, ...] = ()
    max_frames: int | None = None
    stop_when_idle: float | None = None
    budget: Budget | None = None
    flagged: RaisedFlag | None = None
    stop_error: float | None = None
    sampled: bool = False
    first_look: int | None = None
    store: FrameStore | None = None


@dataclass(frozen=True, slots=True)
class SlideOutcome:
    """What came of a slide: its verdict, not yet committed, and the errors met on the way.

    decided : whether the slide ended because its rule was decided, not with its last frame.
    """

    verdict: Verdict
    errors: tuple[EdgeAplError, ...]
    decided: bool = False


@dataclass(slots=True)
class Observer:
    """Callbacks; they come from the thread that called `examine_slide`.

    on_accepted : the gate let a frame pass; comes from the thread that reads.
    on_frame : a frame is finished.
    on_progress : the answer changed: a frame is finished, or more of its cells are.
    on_tick : nothing happened for a quarter of a second.
    """

    on_frame: Callable[[ExaminedFrame], None] = field(default=lambda examined: None)
    on_progress: Callable[[Progress], None] | None = None
    on_tick: Callable[[], None] = field(default=lambda: None)
    on_accepted: Callable[[Frame], None] = field(default=lambda frame: None)

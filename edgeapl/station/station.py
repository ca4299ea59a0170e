"""The station itself: a camera that is always looked at, and one slide after another."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edgeapl.closing import ClosesItself
from edgeapl.errors import EdgeAplError, UsageError
from edgeapl.journal import Journal
from edgeapl.pipeline import SlideOptions
from edgeapl.protocols import FrameSource
from edgeapl.sources.frames import ScaleFor
from edgeapl.stages.findings import Finding
from edgeapl.station import showing
from edgeapl.station.hosting import HostedModel
from edgeapl.station.open_slide import OpenSlide, left_open
from edgeapl.station.session import Closed, Session
from edgeapl.station.sources import ResumedSource, StationScale, Viewfinder
from edgeapl.station.taking_up import flag_taken_up

LONGEST_NAME = 200
FOCUS_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class StationOptions:
    """How the station works.

    camera : what people call the source. out : folder for results.
    um_per_px : stated scale, or None to measure it.
    budget_s : from a frame's capture to the committed verdict.
    max_frames, idle_s, enough_cells : close a slide after so many frames, so many seconds without
        one, so many cells scored or not needed; None for never.
    stop_error : leave out cells once a slide's flag is decided without them, as in `SlideOptions`;
        None to look at all.
    findings : what is known about every slide. drawn : the slides are drawn, no patient's.
    """

    camera: str
    out: Path
    um_per_px: float | None = None
    budget_s: float = 45.0
    batch_size: int | None = None
    max_frames: int | None = None
    idle_s: float | None = None
    enough_cells: int | None = None
    stop_error: float | None = None
    findings: tuple[Finding, ...] = ()
    drawn: bool = False


class Station(ClosesItself):
    """A model, a camera and a journal at work; `edgeapl.station.desk` shows it to people.

    Parameters
    ----------
    open_source : opens the camera with the scale it is given. A camera is opened once; a file or a
        demonstration anew for every slide.
    on_closed : told of every closed slide, from the station's thread.

    Slides that were left open when the station stopped are taken up again first.
    """

    def __init__(
        self,
        hosted: HostedModel,
        open_source: Callable[[ScaleFor], FrameSource],
        journal: Journal,
        options: StationOptions,
        on_closed: Callable[[Closed], None] = lambda closed: None,
    ) -> None:
        self.hosted = hosted
        self.journal = journal
        self.options = options
        self._open_source = open_source
        self._on_closed = on_closed
        self._scale = StationScale(options.um_per_px, hosted.model.bundle.manifest.um_per_px)
        self._view = Viewfinder(open_source(self._scale))
        self._lock = threading.Condition()
        self._revision = 0
        self._wanted: str | None = None
        self._session: Session | None = None
        self._shown: showing.Shown | None = None
        self._trouble: dict[str, str] = {}
        self._hurry = threading.Event()
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._not_closed: list[EdgeAplError] = []
        self._counts = {"slides": 0, "flags": 0, "frames": 0, "cells": 0}
        self._slowest_s = 0.0
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._run, name="edgeapl-station", daemon=True)
        self._thread.start()

    # What people may do.

    def start_slide(self, slide: str) -> None:
        """Open a slide; closes the one that is open. Raises UsageError for a bad identifier."""
        slide = slide.strip()
        if not slide or len(slide) > LONGEST_NAME or not slide.isprintable():
            mend = f"give 1 to {LONGEST_NAME} printable characters"
            raise UsageError("slide identifier is wrong", slide[:40], mend)
        with self._lock:
            if self._session is not None and self._session.slide == slide:
                raise UsageError("slide is open already", slide, "close it first")
            self._wanted = slide
            if self._session is not None:
                self._session.stop.set()
            self._lock.notify_all()

    def close_slide(self) -> None:
        """Close the open slide: what was captured is judged and committed. Without one, nothing."""
        with self._lock:
            if self._session is not None:
                self._session.stop.set()

    # What the desk asks.

    def shown(self) -> showing.Shown | None:
        """Give what there is to see of the open slide, or of the one that was closed last."""
        with self._lock:
            if self._session is not None:
                self._shown = showing.shown_of(self._session, self.options.budget_s)
            return self._shown

    @property
    def revision(self) -> int:
        """Grows with every change."""
        return self._revision

    def wait(self, revision: int, timeout_s: float) -> None:
        """Wait until the revision is above this one, or for so long."""
        with self._lock:
            self._lock.wait_for(lambda: self._revision > revision, timeout_s)

    def changed(self) -> None:
        """Say that there is something new to see."""
        with self._lock:
            self._revision += 1
            self._lock.notify_all()

    @property
    def viewfinder(self) -> Viewfinder:
        """The camera."""
        return self._view

    @property
    def trouble(self) -> tuple[str, ...]:
        """What is wrong at the station itself, in sentences."""
        return (*self._trouble.values(), *self.hosted.trouble)

    @property
    def not_closed(self) -> tuple[EdgeAplError, ...]:
        """What kept slides from being closed since the start."""
        return tuple(self._not_closed)

    def counts(self) -> dict[str, float]:
        """Give what happened since the start; and the longest time from a frame to its commit."""
        with self._lock:
            open_now = float(self._session is not None)
            return {**self._counts, "slide_open": open_now, "slowest_s": self._slowest_s}

    # Life and death.

    @property
    def alive(self) -> bool:
        """Whether the station's thread is at work, as it always should be."""
        return self._thread.is_alive()

    @property
    def ended(self) -> bool:
        """Whether the source has no more frames and no slide is open."""
        with self._lock:
            idle = self._session is None and self._wanted is None
        return idle and bool(self._view.trouble or self._view.ended)

    def hurry(self) -> None:
        """Close the open slide at once: what has no answer yet is not examined."""
        self._hurry.set()
        self._closing.set()
        self.close_slide()
        self.hosted.deadline(time.monotonic_ns())

    @property
    def takes_up(self) -> bool:
        """Whether a slide was left open, so that it goes on by itself."""
        return self._view.runs_ahead and bool(left_open(self.options.out))

    def finish(self, in_a_hurry: threading.Event) -> None:
        """Close the open slide and wait until it is; once the event is set, at once."""
        self._closing.set()
        self.close_slide()
        while self._thread.is_alive():
            self._thread.join(0.05)
            if in_a_hurry.is_set() and not self._hurry.is_set():
                self.hurry()

    def close(self) -> None:
        """Close the open slide and the camera. Raises what broke the station."""
        self._closing.set()
        with self._lock:
            self._wanted = None
            if self._session is not None:
                self._session.stop.set()
            self._lock.notify_all()
        self._thread.join()
        self._view.close()
        if self._failure is not None:
            raise self._failure

    # What follows runs in the station's thread.

    def _run(self) -> None:
        try:
            self._take_up()
            while not self._closing.is_set():
                with self._lock:
                    self._lock.wait_for(lambda: self._wanted or self._closing.is_set(), 0.5)
                    slide, self._wanted = self._wanted, None
                if slide is not None:
                    self._examine(slide)
        except BaseException as error:  # noqa: BLE001 - raised again by close
            self._failure = error
            self._closing.set()
            self.changed()

    def _take_up(self) -> None:
        """Examine what was left open. The newest goes on with the camera, the others end."""
        if not self._view.runs_ahead:
            return
        with self._lock:
            wanted = self._wanted
        slides = [about.slide for about in left_open(self.options.out)]
        goes_on = wanted if wanted is not None or not slides else slides[-1]
        for slide in slides:
            if slide != goes_on and not self._closing.is_set():
                self._examine(slide, only_kept=True)
        with self._lock:
            if goes_on is not None and self._wanted is None:
                self._wanted = goes_on

    def _examine(self, slide: str, *, only_kept: bool = False) -> None:
        """Run one slide to its end; what goes wrong is shown, and the frames are kept."""
        self._trouble.pop("slide", None)
        try:
            session, source = self._prepared(slide, only_kept=only_kept)
            with self._lock:
                self._session = session
                if self._wanted is not None or self._closing.is_set():
                    session.stop.set()
            self.changed()
            closed = session.run(source)
        except EdgeAplError as error:
            self._trouble["slide"] = f"slide {slide} was not closed: {error}"
            self._not_closed.append(error)
            self._end_session(None)
            return
        finally:
            self._scale.close_slide()
        self._end_session(closed)
        self._on_closed(closed)

    def _prepared(self, slide: str, *, only_kept: bool) -> tuple[Session, FrameSource]:
        options, view = self.options, self._view
        self._scale.start_slide()
        kept = None
        source: FrameSource = view
        if view.runs_ahead:
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            kept = OpenSlide.start(options.out, slide, now)
            view.forget()
            frames = kept.kept()
            source = ResumedSource(frames, None if only_kept else view) if frames else view
            if only_kept and not frames:
                source = ResumedSource((), None)
        elif view.ended:
            self._view.close()
            source = self._view = Viewfinder(self._open_source(self._scale))
        budget = self.hosted.budget(options.budget_s)
        session = Session(
            hosted=self.hosted,
            slide=slide,
            out=options.out,
            journal=self.journal,
            options=SlideOptions(
                batch_size=options.batch_size,
                findings=options.findings,
                max_frames=options.max_frames,
                stop_when_idle=options.idle_s,
                budget=budget.hurried_by(self._hurry),
                flagged=None if kept is None else flag_taken_up(kept, self.journal.path),
                stop_error=options.stop_error,
            ),
            number=next(self._numbers),
            kept=kept,
            on_change=self.changed,
            enough_cells=options.enough_cells,
            drawn=options.drawn,
        )
        return session, source

    def _end_session(self, closed: Closed | None) -> None:
        self.shown()
        with self._lock:
            session, self._session = self._session, None
            if session is not None and self._shown is not None:
                self._slowest_s = max(self._slowest_s, session.committer.slowest_s)
                self._shown = self._shown.closed(closed)
                tally = self._shown.tally
                self._counts["frames"] += self._shown.frames
                self._counts["cells"] += tally.seen
            if closed is not None:
                self._counts["slides"] += 1
                self._counts["flags"] += closed.record["verdict"] == "FLAG"
        self.changed()

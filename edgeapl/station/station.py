"""The station itself: a camera that is always looked at, and one slide after another."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path

from edgeapl.closable import ClosesItself
from edgeapl.errors import EdgeAplError, IdentifierUsed, StorageError, UsageError
from edgeapl.journal import VERDICT, Journal, Standing, rows_with
from edgeapl.model import origin_of
from edgeapl.pipeline import SlideOptions
from edgeapl.protocols import FrameSource
from edgeapl.report.versions import amended_report
from edgeapl.slide_findings import of_standing
from edgeapl.sources.frames import ScaleFor
from edgeapl.stages.findings import Finding
from edgeapl.station import slide_log, snapshot
from edgeapl.station.abandoned_slides import close_abandoned
from edgeapl.station.alerts import Alerts
from edgeapl.station.flag_command import FlagCommand
from edgeapl.station.flag_recovery import flag_taken_up
from edgeapl.station.hosted_model import HostedModel
from edgeapl.station.interruption import Interruption
from edgeapl.station.late_reports import LateReports
from edgeapl.station.open_slide import OpenSlide
from edgeapl.station.recovery import settle
from edgeapl.station.session import Closed, Session
from edgeapl.station.sources import ResumedSource, StationScale, Viewfinder
from edgeapl.wording.names import canonical_name

LONGEST_NAME = 200


class Taking(Enum):
    """Which frames an examination takes."""

    NEW = "new"  # of the camera
    KEPT_ALONE = "kept alone"  # those that were kept, then it ends
    WAITS = "waits"  # those that were kept, then new ones once a person says so
    GOES_ON = "goes on"  # those that were kept, then new ones, as a person has said


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
    waits : somebody is there to say whether a slide that was left open goes on; it waits for that.
        Else it is closed at once.
    resume : goes on with this one, at a person's word. begins_with : will be opened first; it must
        not be one that was left open.
    on_flag : run for every flagged slide. recall : flags of earlier days stand until they are seen.
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
    waits: bool = True
    resume: str | None = None
    begins_with: str | None = None
    on_flag: FlagCommand | None = None
    recall: bool = True


class Station(ClosesItself):
    """A model, a camera and a journal at work; `edgeapl.station.service` shows it to people.

    Parameters
    ----------
    open_source : opens the camera with the scale it is given. A camera is opened once; a file or a
        demonstration anew for every slide.
    on_closed : told of every closed slide, from the station's thread.

    Slides that were left open when the station stopped are examined first, by their kept frames
    alone: no frame of another patient may get into them. The newest waits for `go_on`.

    Raises StorageError, and UsageError when the slide to resume was not left open, or the one to
    begin with was.
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
        self.standing = Standing(journal.path, hosted.model.clearing.certificate)
        self.standing.ended()  # what earlier days have seen stands on the page from the start
        self._open_source = open_source
        self._on_closed = on_closed
        self._scale = StationScale(options.um_per_px, hosted.model.bundle.manifest.um_per_px)
        self._left = settle(options.out, journal)
        late = LateReports(journal, hosted.model.bundle)
        closed = close_abandoned(options.out, journal, late.write)
        if options.resume is not None:
            self._check_left(options.resume)
        if options.begins_with is not None:
            self._check_not_left(options.begins_with.strip())
        self._view = Viewfinder(open_source(self._scale))
        self._lock = threading.Condition()
        self._revision = 0
        self._wanted: str | None = None
        self._session: Session | None = None
        self._shown: snapshot.Shown | None = None
        said = (*self._left.said, *closed)
        self._trouble = {f"left {n}": text for n, text in enumerate(said)}
        self._taken_up = False
        self._hurry = threading.Event()
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._not_closed: list[EdgeAplError] = []
        self._counts = {"slides": 0, "flags": 0, "frames": 0, "cells": 0}
        self._slowest_s = 0.0
        self._numbers = itertools.count()
        manifest = hosted.model.bundle.manifest
        self.alerts = Alerts(
            journal,
            demonstration=origin_of(manifest, options.out, drawn=options.drawn).demonstration,
            command=options.on_flag,
            recall=options.recall,
            on_change=self.changed,
        )
        self._thread = threading.Thread(target=self._run, name="edgeapl-station", daemon=True)
        self._thread.start()

    # What people may do.

    def start_slide(self, slide: str, again: bool = False) -> None:
        """Open a slide; closes the one that is open. Raises UsageError for a bad identifier.

        again : open one more record of an identifier that has one. Else that raises IdentifierUsed.
        """
        slide = canonical_name(slide.strip())
        if not slide or len(slide) > LONGEST_NAME or not slide.isprintable():
            mend = f"give 1 to {LONGEST_NAME} printable characters"
            raise UsageError("slide identifier is wrong", slide[:40], mend)
        with self._lock:
            is_open = self._session is not None and self._session.slide == slide
        if not again and not is_open:
            if not self._taken_up:
                self._check_not_left(slide)
            self._check_unused(slide)
        with self._lock:
            session = self._session
            if session is not None and session.slide == slide:
                mend = "close it first" if not session.waits else "go on with it, or close it first"
                raise UsageError("slide is open already", slide, mend)
            self._wanted = slide
            if session is not None:
                session.end()
            self._lock.notify_all()

    def go_on(self, slide: str) -> None:
        """Take new frames into a slide that was left open and waits. Raises UsageError."""
        with self._lock:
            session = self._session
            if session is None or session.slide != slide or not session.waits:
                raise UsageError("slide does not wait to go on", slide, "start it as another slide")
            assert session.interruption is not None
            self._view.forget()  # what was captured before this word is nobody's
            session.interruption.source.go_on()
        self.changed()

    def close_slide(self) -> None:
        """Close the open slide: what was captured is judged and committed. Without one, nothing."""
        with self._lock:
            if self._session is not None:
                self._session.end()

    # What the desk asks.

    def shown(self) -> snapshot.Shown | None:
        """Give what there is to see of the open slide, or of the one that was closed last."""
        with self._lock:
            if self._session is not None:
                self._shown = snapshot.shown_of(self._session, self.options.budget_s)
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
        return (*self._trouble.values(), *self.alerts.trouble, *self.hosted.trouble)

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
            idle = self._session is None and self._wanted is None and self._taken_up
        return idle and bool(self._view.trouble or self._view.ended)

    def hurry(self) -> None:
        """Close the open slide at once: what has no answer yet is not examined."""
        self._hurry.set()
        self._closing.set()
        self.hosted.hurry()
        self._view.interrupt()
        with self._lock:
            if self._session is not None:
                self._session.hurry()

    @property
    def left_open(self) -> tuple[str, ...]:
        """Slides that were left open when the station stopped, oldest first."""
        return tuple(about.slide for about in self._left.slides)

    def finish(self, in_a_hurry: threading.Event) -> None:
        """Close the open slide and wait until it is; once the event is set, at once."""
        self._closing.set()
        self.close_slide()
        while self._thread.is_alive():
            self._thread.join(0.05)
            if in_a_hurry.is_set() and not self._hurry.is_set():
                self.hurry()
        self.alerts.finish(in_a_hurry.is_set)

    def close(self) -> None:
        """Close the open slide and the camera. Raises what broke the station."""
        self._closing.set()
        with self._lock:
            self._wanted = None
            if self._session is not None:
                self._session.end()
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

    def _check_unused(self, slide: str) -> None:
        known = rows_with(self.journal.path, VERDICT, "slide", slide)
        if known:
            last = known[-1]
            verdict, time = last.content["verdict"], last.time[:16]
            which = f"{slide} ({verdict}, {time} UTC, row {last.sequence})"
            mend = "take another identifier, or open one more record of this one (--again)"
            raise IdentifierUsed("slide has a record already", which, mend)

    def _check_left(self, slide: str) -> None:
        if slide not in self.left_open:
            left = ", ".join(self.left_open) or "none"
            raise UsageError("slide was not left open", slide, f"there is to go on with: {left}")

    def _check_not_left(self, slide: str) -> None:
        if slide in self.left_open:
            mend = "go on with it (--resume), or close it and open one more of its name (--again)"
            raise UsageError("slide was left open when the station stopped", slide, mend)

    def _take_up(self) -> None:
        """Examine what was left open. One may wait or go on with the camera, the others end."""
        slides, resume = self.left_open, self.options.resume
        with self._lock:
            waits = self.options.waits and self._wanted is None
        last = resume or (slides[-1] if slides and waits else None)
        taking = Taking.GOES_ON if resume else Taking.WAITS
        for slide in sorted(slides, key=lambda one: one == last):
            if not self._closing.is_set():  # what is not finished stays open for the next start
                self._examine(slide, taking if slide == last else Taking.KEPT_ALONE)
        self._taken_up = True

    def _examine(self, slide: str, taking: Taking = Taking.NEW) -> None:
        """Run one slide to its end; what goes wrong is shown, and the frames are kept."""
        self._trouble.pop("slide", None)
        try:
            session, source = self._prepared(slide, taking)
            with self._lock:
                self._session = session
                if self._hurry.is_set():
                    session.hurry()
                elif self._wanted is not None or self._closing.is_set():
                    session.end()
            self.changed()
            slide_log.opened(slide, taking.value)
            closed = session.run(source)
        except EdgeAplError as error:
            slide_log.not_closed(slide, error)
            self._trouble["slide"] = f"slide {slide} was not closed: {error}"
            self._not_closed.append(error)
            self._end_session(None)
            return
        finally:
            self._scale.close_slide()
        slide_log.closed(closed.verdict, closed.record["journal_record"])
        self._end_session(closed)
        if session.amended:
            self.renew_report(closed.record["journal_record"])
        self._on_closed(closed)

    def note_amendment(self, record: str) -> None:
        """Have a report say what a person said of a cell: now, or once its slide is closed."""
        with self._lock:
            if self._session is not None and self._session.committer.record == record:
                self._session.amended = True
                return
        self.renew_report(record)

    def renew_report(self, record: str) -> None:
        """Write a new version of a closed slide's report; what goes wrong is shown."""
        try:
            amended_report(self.journal.path, record, self.options.out)
            self._trouble.pop("report", None)
        except StorageError as error:
            self._trouble["report"] = f"report does not say yet what people said: {error}"

    def _prepared(self, slide: str, taking: Taking) -> tuple[Session, FrameSource]:
        options, view = self.options, self._view
        self._scale.start_slide()
        kept: OpenSlide | None = None
        resumed: ResumedSource | None = None
        if view.runs_ahead or taking is not Taking.NEW:
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            kept = OpenSlide.start(options.out, slide, now, self.journal.identity)
            view.forget()
            if taking is Taking.NEW and kept.taken_up:  # could not be closed a while ago
                taking = Taking.WAITS if options.waits else Taking.KEPT_ALONE
            if taking is not Taking.NEW:
                alone, waits = taking is Taking.KEPT_ALONE, taking is Taking.WAITS
                resumed = ResumedSource(kept.kept(), None if alone else view, waits=waits)
        elif view.ended:
            self._view.close()
            view = self._view = Viewfinder(self._open_source(self._scale))
        limited = taking is not Taking.KEPT_ALONE
        budget = self.hosted.budget(options.budget_s)
        session = Session(
            hosted=self.hosted,
            slide=slide,
            out=options.out,
            journal=self.journal,
            options=SlideOptions(
                batch_size=options.batch_size,
                findings=(*options.findings, *of_standing(self.standing.ended())),
                max_frames=options.max_frames if limited else None,
                stop_when_idle=options.idle_s,
                budget=budget.hurried_by(self._hurry),
                flagged=None if kept is None else flag_taken_up(kept, self.journal.path),
                stop_error=options.stop_error,
            ),
            number=next(self._numbers),
            kept=kept,
            on_change=self.changed,
            enough_cells=options.enough_cells if limited else None,
            drawn=options.drawn,
            interruption=None if resumed is None else self._interruption(slide, resumed),
            on_committed=self.alerts.committed,
        )
        return session, view if resumed is None else resumed

    def _interruption(self, slide: str, resumed: ResumedSource) -> Interruption:
        return Interruption(resumed, self._left.begun_elsewhere(slide, self.journal.identity))

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

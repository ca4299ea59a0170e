"""The station itself: a camera that is always watched, and one slide after another."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edgeapl.closable import ClosesItself
from edgeapl.errors import EdgeAplError, StorageError, UsageError
from edgeapl.journal import CertificateStatus, Journal
from edgeapl.model import origin_of
from edgeapl.protocols import FrameSource
from edgeapl.report.versions import amended_report
from edgeapl.sources.frames import ScaleFor
from edgeapl.station import slide_log
from edgeapl.station.abandoned_slides import close_abandoned
from edgeapl.station.alerts import Alerts
from edgeapl.station.change_signal import ChangeSignal
from edgeapl.station.hosted_model import HostedModel
from edgeapl.station.identifiers import (
    check_interrupted,
    check_not_interrupted,
    check_unused,
    checked_identifier,
)
from edgeapl.station.late_reports import LateReports
from edgeapl.station.options import StationOptions
from edgeapl.station.recovery import recover
from edgeapl.station.session import ClosedSlide, Session
from edgeapl.station.session_factory import FramePolicy, SessionFactory
from edgeapl.station.snapshot import SlideSnapshot, snapshot_of
from edgeapl.station.sources import Viewfinder
from edgeapl.station.statistics import StationStatistics
from edgeapl.types import Verdict

__all__ = ["Station", "StationOptions"]


class Station(ClosesItself):
    """A model, a camera and a journal at work; `edgeapl.station.service` shows it to people.

    Parameters
    ----------
    open_source : opens the camera; see `SessionFactory`.
    on_closed : called with every closed slide, from the station's thread.

    Slides that the last run left open are examined first, from their stored frames alone: no frame
    of another patient may get into them. The newest waits for `resume_slide`.

    Raises StorageError, and UsageError when the slide to resume was not left open, or the one to
    open first was.
    """

    def __init__(
        self,
        hosted: HostedModel,
        open_source: Callable[[ScaleFor], FrameSource],
        journal: Journal,
        options: StationOptions,
        on_closed: Callable[[ClosedSlide], None] = lambda closed: None,
    ) -> None:
        self.hosted = hosted
        self.journal = journal
        self.options = options
        self.standing = CertificateStatus(journal.path, hosted.model.clearing.certificate)
        self.standing.ended()  # what earlier days have seen stands on the page from the start
        self._on_closed = on_closed
        self._interrupted = recover(options.out, journal)
        late = LateReports(journal, hosted.model.bundle)
        closed = close_abandoned(options.out, journal, late.write)
        if options.resume is not None:
            check_interrupted(options.resume, self.interrupted)
        if options.first_slide is not None:
            check_not_interrupted(options.first_slide.strip(), self.interrupted)
        self._stop_now = threading.Event()
        self.changes = ChangeSignal()
        self._factory = SessionFactory(
            hosted,
            open_source,
            journal,
            self.standing,
            options,
            self._interrupted,
            self._stop_now,
            on_change=self.changes.notify,
            on_committed=self._committed,
        )
        self._lock = threading.Condition()
        self._requested: str | None = None
        self._session: Session | None = None
        self._snapshot: SlideSnapshot | None = None
        notices = (*self._interrupted.notices, *closed)
        self._trouble = {f"left {n}": text for n, text in enumerate(notices)}
        self._recovered = False
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._not_closed: list[EdgeAplError] = []
        self._statistics = StationStatistics()
        manifest = hosted.model.bundle.manifest
        self.alerts = Alerts(
            journal,
            demonstration=origin_of(manifest, options.out, drawn=options.drawn).demonstration,
            command=options.on_flag,
            recall=options.recall,
            on_change=self.changes.notify,
        )
        self._thread = threading.Thread(target=self._run, name="edgeapl-station", daemon=True)
        self._thread.start()

    # What people may do.

    def start_slide(self, slide: str, again: bool = False) -> None:
        """Open a slide and close the open one. Raises UsageError for a bad identifier.

        again : open one more record of an identifier that has one; otherwise that raises
            IdentifierUsed.
        """
        slide = checked_identifier(slide)
        with self._lock:
            is_open = self._session is not None and self._session.slide == slide
        if not again and not is_open:
            if not self._recovered:
                check_not_interrupted(slide, self.interrupted)
            check_unused(self.journal.path, slide)
        with self._lock:
            session = self._session
            if session is not None and session.slide == slide:
                mend = "close it first" if not session.waits else "continue it, or close it first"
                raise UsageError("slide is open already", slide, mend)
            if self._closing.is_set():
                mend = "ask for it again in a moment"
                raise UsageError("station ends, or opens another bundle", slide, mend)
            self._requested = slide
            if session is not None:
                session.end()
            self._lock.notify_all()

    def resume_slide(self, slide: str) -> None:
        """Take new frames into an interrupted slide that waits for this. Raises UsageError."""
        with self._lock:
            session = self._session
            if session is None or session.slide != slide or not session.waits:
                raise UsageError(
                    "slide does not wait to continue", slide, "start it as another slide"
                )
            assert session.interruption is not None
            self.viewfinder.discard_unread()  # captured before: it may show another slide
            session.interruption.source.resume()
        self.changes.notify()

    def close_slide(self) -> None:
        """Close the open slide: judge and commit what was captured. Does nothing without one."""
        with self._lock:
            if self._session is not None:
                self._session.end()

    # What there is to see.

    def snapshot(self) -> SlideSnapshot | None:
        """Return what there is to see of the open slide, or else of the one closed last."""
        with self._lock:
            if self._session is not None:
                self._snapshot = snapshot_of(self._session, self.options.budget_s)
            return self._snapshot

    @property
    def viewfinder(self) -> Viewfinder:
        """The camera."""
        return self._factory.viewfinder

    @property
    def trouble(self) -> tuple[str, ...]:
        """What is wrong at the station itself, in sentences."""
        return (*self._trouble.values(), *self.alerts.trouble, *self.hosted.trouble)

    @property
    def not_closed(self) -> tuple[EdgeAplError, ...]:
        """Errors that kept slides from being closed since the start."""
        return tuple(self._not_closed)

    @property
    def interrupted(self) -> tuple[str, ...]:
        """Slides that the last run left open, oldest first."""
        return tuple(metadata.slide for metadata in self._interrupted.slides)

    def counts(self) -> dict[str, float]:
        """Return counts since the start, and the longest time from a frame to its commit."""
        with self._lock:
            return {
                **self._statistics.counts,
                "slide_open": float(self._session is not None),
                "slowest_s": self._statistics.slowest_s,
            }

    # Start and end.

    @property
    def alive(self) -> bool:
        """Whether the station's thread is running, as it always should be."""
        return self._thread.is_alive()

    @property
    def ended(self) -> bool:
        """Whether the source has no more frames and no slide is open."""
        return self.idle and bool(self.viewfinder.trouble or self.viewfinder.ended)

    @property
    def idle(self) -> bool:
        """Whether no slide is open, asked for, or left open by an earlier run."""
        with self._lock:
            return self._session is None and self._requested is None and self._recovered

    def end_if_idle(self) -> bool:
        """Begin to end unless a slide is open or asked for; no further slide is opened then."""
        with self._lock:
            idle = self._session is None and self._requested is None and self._recovered
            if idle:
                self._closing.set()
            return idle

    def stop_now(self) -> None:
        """Close the open slide at once: what has no answer yet is not examined."""
        self._stop_now.set()
        self._closing.set()
        self.hosted.stop_now()
        self.viewfinder.interrupt()
        with self._lock:
            if self._session is not None:
                self._session.stop_now()

    def finish(self, immediately: threading.Event) -> None:
        """Close the open slide and wait for that; once the event is set, close it at once."""
        self._closing.set()
        self.close_slide()
        while self._thread.is_alive():
            self._thread.join(0.05)
            if immediately.is_set() and not self._stop_now.is_set():
                self.stop_now()
        self.alerts.finish(immediately.is_set)

    def close(self) -> None:
        """Close the open slide and the camera. Raises the error that broke the station."""
        self._closing.set()
        with self._lock:
            self._requested = None
            if self._session is not None:
                self._session.end()
            self._lock.notify_all()
        self._thread.join()
        self.viewfinder.close()
        if self._failure is not None:
            raise self._failure

    # Reports of closed slides.

    def add_amendment(self, record: str) -> None:
        """Bring a report up to date with what a person called a cell, once its slide is closed."""
        with self._lock:
            if self._session is not None and self._session.committer.record == record:
                self._session.amended = True
                return
        self.update_report(record)

    def update_report(self, record: str) -> None:
        """Write a new version of a closed slide's report; a failure becomes visible trouble."""
        try:
            amended_report(self.journal.path, record, self.options.out)
            self._trouble.pop("report", None)
        except StorageError as error:
            self._trouble["report"] = f"report does not say yet what people said: {error}"

    # The rest runs in the station's thread.

    def _committed(self, verdict: Verdict, record: str) -> None:
        self.alerts.committed(verdict, record)

    def _run(self) -> None:
        try:
            self._examine_interrupted()
            while not self._closing.is_set():
                with self._lock:
                    self._lock.wait_for(lambda: self._requested or self._closing.is_set(), 0.5)
                    slide, self._requested = self._requested, None
                if slide is not None:
                    self._examine(slide, FramePolicy.NEW)
        except BaseException as error:  # noqa: BLE001 - raised again by close
            self._failure = error
            self._closing.set()
            self.changes.notify()

    def _examine_interrupted(self) -> None:
        """Examine the slides left open. One may wait or continue with the camera, others end."""
        slides, resume = self.interrupted, self.options.resume
        with self._lock:
            may_ask = self.options.attended and self._requested is None
        last = resume or (slides[-1] if slides and may_ask else None)
        policy = FramePolicy.CONTINUE if resume else FramePolicy.ASK_FIRST
        for slide in sorted(slides, key=lambda one: one == last):
            if not self._closing.is_set():  # what is not finished stays open for the next start
                self._examine(slide, policy if slide == last else FramePolicy.STORED_ONLY)
        self._recovered = True

    def _examine(self, slide: str, policy: FramePolicy) -> None:
        """Run one slide to its end; a failure becomes visible trouble, and its frames stay."""
        self._trouble.pop("slide", None)
        try:
            session, source = self._factory.make(slide, policy)
            with self._lock:
                self._session = session
                if self._stop_now.is_set():
                    session.stop_now()
                elif self._requested is not None or self._closing.is_set():
                    session.end()
            self.changes.notify()
            slide_log.opened(slide, policy.value)
            closed = session.run(source)
        except EdgeAplError as error:
            slide_log.not_closed(slide, error)
            self._trouble["slide"] = f"slide {slide} was not closed: {error}"
            self._not_closed.append(error)
            self._end_session(None)
            return
        finally:
            self._factory.end_slide()
        slide_log.closed(closed.verdict, closed.record["journal_record"])
        self._end_session(closed)
        if session.amended:
            self.update_report(closed.record["journal_record"])
        self._on_closed(closed)

    def _end_session(self, closed: ClosedSlide | None) -> None:
        self.snapshot()
        with self._lock:
            session, self._session = self._session, None
            if session is not None and self._snapshot is not None:
                self._snapshot = self._snapshot.after_closing(closed)
                self._statistics.add_examined(self._snapshot, session.committer.slowest_s)
            if closed is not None:
                self._statistics.add_closed(closed.verdict)
        self.changes.notify()

"""Makes the session of a slide and the source of its frames."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from enum import Enum

from edgeapl.journal import CertificateStatus, Journal
from edgeapl.pipeline import SlideOptions
from edgeapl.protocols import FrameSource
from edgeapl.slide_findings import of_certificate_status
from edgeapl.sources.frames import ScaleFor
from edgeapl.station.flag_recovery import recovered_flag
from edgeapl.station.frame_store import FrameStore
from edgeapl.station.hosted_model import HostedModel
from edgeapl.station.interruption import Interruption
from edgeapl.station.options import StationOptions
from edgeapl.station.recovery import InterruptedSlides
from edgeapl.station.session import CommitListener, Session
from edgeapl.station.sources import ResumedSource, StationScale, Viewfinder


class FramePolicy(Enum):
    """Which frames an examination takes; the value stands in the log."""

    NEW = "new"  # new frames of the camera
    STORED_ONLY = "kept alone"  # stored frames, then it ends
    ASK_FIRST = "waits"  # stored frames, then new ones once a person agrees
    CONTINUE = "goes on"  # stored frames, then new ones: a person has agreed


class SessionFactory:
    """Makes one session after another over a camera that stays open.

    Parameters
    ----------
    open_source : opens the camera with the scale it is given. A camera is opened once; a file or a
        demonstration anew for every slide.
    interrupted : slides that the last run left open.
    stop_now : set when the station must end at once.
    on_change, on_committed : see `Session`.

    Raises what opening the source raises.
    """

    def __init__(
        self,
        hosted: HostedModel,
        open_source: Callable[[ScaleFor], FrameSource],
        journal: Journal,
        standing: CertificateStatus,
        options: StationOptions,
        interrupted: InterruptedSlides,
        stop_now: threading.Event,
        on_change: Callable[[], None],
        on_committed: CommitListener,
    ) -> None:
        self._hosted = hosted
        self._open_source = open_source
        self._journal = journal
        self._standing = standing
        self._options = options
        self._interrupted = interrupted
        self._stop_now = stop_now
        self._on_change = on_change
        self._on_committed = on_committed
        self._numbers = itertools.count()
        self._scale = StationScale(options.um_per_px, hosted.model.bundle.manifest.um_per_px)
        self.viewfinder = Viewfinder(open_source(self._scale))

    def make(self, slide: str, policy: FramePolicy) -> tuple[Session, FrameSource]:
        """Return a session and the source to run it on. Raises StorageError, CameraError."""
        self._scale.start_slide()
        store: FrameStore | None = None
        resumed: ResumedSource | None = None
        view = self.viewfinder
        if view.runs_ahead or policy is not FramePolicy.NEW:
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            store = FrameStore.start(self._options.out, slide, now, self._journal.identity)
            view.discard_unread()
            policy = self._policy(policy, store)
            if policy is not FramePolicy.NEW:
                then = None if policy is FramePolicy.STORED_ONLY else view
                waits = policy is FramePolicy.ASK_FIRST
                resumed = ResumedSource(store.readers(), then, waits=waits)
        elif view.ended:
            view.close()
            view = self.viewfinder = Viewfinder(self._open_source(self._scale))
        session = self._session(slide, policy, store, resumed)
        return session, view if resumed is None else resumed

    def end_slide(self) -> None:
        """Stop measuring the scale: no slide is under examination."""
        self._scale.close_slide()

    def _policy(self, wanted: FramePolicy, store: FrameStore) -> FramePolicy:
        """Return the policy for a slide; one that could not be closed a while ago is resumed."""
        if wanted is not FramePolicy.NEW or not store.resumed:
            return wanted
        return FramePolicy.ASK_FIRST if self._options.attended else FramePolicy.STORED_ONLY

    def _session(
        self,
        slide: str,
        policy: FramePolicy,
        store: FrameStore | None,
        resumed: ResumedSource | None,
    ) -> Session:
        options, journal = self._options, self._journal
        limited = policy is not FramePolicy.STORED_ONLY
        budget = self._hosted.budget(options.budget_s)
        interruption = None
        if resumed is not None:
            elsewhere = self._interrupted.begun_elsewhere(slide, journal.identity)
            interruption = Interruption(resumed, elsewhere)
        return Session(
            hosted=self._hosted,
            slide=slide,
            out=options.out,
            journal=journal,
            options=SlideOptions(
                batch_size=options.batch_size,
                findings=(*options.findings, *of_certificate_status(self._standing.ended())),
                max_frames=options.max_frames if limited else None,
                stop_when_idle=options.idle_s,
                budget=budget.with_abort(self._stop_now),
                flagged=None if store is None else recovered_flag(store, journal.path),
                stop_error=options.stop_error,
            ),
            number=next(self._numbers),
            store=store,
            on_change=self._on_change,
            enough_cells=options.enough_cells if limited else None,
            drawn=options.drawn,
            interruption=interruption,
            on_committed=self._on_committed,
        )

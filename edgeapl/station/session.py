"""One slide at the station: from its first frame to its committed verdict and its report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeapl.errors import DeadlineError
from edgeapl.journal import Journal
from edgeapl.pipeline import Observer, Progress, SlideOptions, examine_slide
from edgeapl.protocols import FrameSource
from edgeapl.recorder import SlideRecorder
from edgeapl.report.gallery import CellPicture
from edgeapl.station import slide_log
from edgeapl.station.commit_policy import Committer
from edgeapl.station.frame_store import FrameStore, new_sitting
from edgeapl.station.hosted_model import HostedModel
from edgeapl.station.interruption import Interruption
from edgeapl.station.recovery import discard, set_aside
from edgeapl.types import ExaminedFrame, Frame, Verdict, raised_flag

EXPLAINING_S = 60.0
"""A verdict is explained after its commit; the picture is left out when it takes longer."""

CommitListener = Callable[[Verdict, str], None]
"""Called with a committed verdict and the hash of its row."""


@dataclass(frozen=True, slots=True)
class ClosedSlide:
    """A slide that was examined to its end.

    verdict : as committed. record : as in `verdicts.jsonl`. report : the HTML page.
    exit_code : that of the worst error, or 0.
    """

    verdict: Verdict
    record: dict[str, Any]
    report: Path
    exit_code: int


@dataclass(slots=True, eq=False)
class Session:
    """A slide under examination; other threads may read its state.

    slide : its identifier. options : with a budget. out : result folder; gets ``slides/SLIDE``.
    number : counts the sessions of this station.
    store : stores its frames until it is closed; None for sources that can be read again.
    drawn : the slide is drawn, not a patient's.
    interruption : set when the slide was left open by an earlier run.
    amended : set when a person has reclassified one of its cells.
    on_change : called whenever there is something new to show.
    on_committed : called with every committed flag and with the final verdict.
    stop : set it to close the slide.
    progress, examined, used, best_cells, frames : what there is to see: progress, the newest frame,
        the newest that passed the gate, the most suspicious cells, counts of frames used and not.
    """

    hosted: HostedModel
    slide: str
    out: Path
    journal: Journal
    options: SlideOptions
    number: int = 0
    store: FrameStore | None = None
    on_change: Callable[[], None] = lambda: None
    enough_cells: int | None = None
    drawn: bool = False
    interruption: Interruption | None = None
    on_committed: CommitListener = lambda verdict, record: None
    amended: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    progress: Progress | None = None
    examined: ExaminedFrame | None = None
    used: ExaminedFrame | None = None
    best_cells: tuple[CellPicture, ...] = ()
    frames: tuple[int, int] = (0, 0)
    _newest: ExaminedFrame | None = None
    _draw_later: Callable[[], None] | None = None
    recorder: SlideRecorder = field(init=False)
    committer: Committer = field(init=False)

    def __post_init__(self) -> None:
        assert self.options.budget is not None
        self.recorder = SlideRecorder(
            self.hosted.model,
            self.journal,
            self.out,
            self.slide,
            crops=self.options.crops,
            batch_size=self.options.batch_size,
            drawn=self.drawn,
            sitting=self.store.metadata.sitting if self.store is not None else new_sitting(),
        )
        self.committer = Committer(self.recorder.commit_provisional, self.options.budget.seconds)

    @property
    def stopping_now(self) -> bool:
        """Whether the station must end at once."""
        return self.options.budget is not None and self.options.budget.abort.is_set()

    def run(self, source: FrameSource) -> ClosedSlide:
        """Examine frames of the source until it ends or `stop` is set.

        Raises StorageError when verdict or report cannot be stored; the stored frames then stay.
        """

        def on_frame(examined: ExaminedFrame) -> None:
            self._newest = examined
            slide_log.gate(self.slide, examined)
            # Its pictures take longer than its commit and are shown after it.
            self._draw_later = lambda: self.recorder.add(examined)

        observer = Observer(on_frame, self._on_progress, self._on_tick, self._on_accepted)
        model = self.hosted.model
        try:
            outcome = examine_slide(model, self.slide, source, self.options, observer, self.stop)
            recorded = self.recorder.finish(
                self._annotated(outcome.verdict, final=True),
                outcome.errors,
                on_committed=self.on_committed,
                may_explain=self._may_explain,
            )
        except BaseException:
            self.recorder.abandon()
            raise
        finally:
            self.hosted.deadline(None)
        self._release_frames()
        codes = [error.exit_code for error in outcome.errors]
        verdict = recorded.verdict
        if verdict.tally.not_examined > verdict.hidden_cells or self._unread:
            codes.append(DeadlineError.exit_code)
        return ClosedSlide(verdict, recorded.record, recorded.files.report, max(codes, default=0))

    def _may_explain(self) -> bool:
        self.hosted.deadline(time.monotonic_ns() + int(EXPLAINING_S * 1e9))
        return not self.stopping_now

    @property
    def waits(self) -> bool:
        """Whether new frames wait until a person says that the slide continues."""
        return self.interruption is not None and self.interruption.source.waits

    def end(self) -> None:
        """Close the slide once all stored frames are examined."""
        if self.interruption is not None and not self.stopping_now:
            self.interruption.source.end()
        else:
            self.stop.set()

    def stop_now(self) -> None:
        """Close the slide at once, and draw no more frames: that takes longer than all else."""
        self.recorder.leave_out_pictures()
        self.stop.set()

    @property
    def _unread(self) -> int:
        return 0 if self.interruption is None else self.interruption.source.unread

    def _release_frames(self) -> None:
        """Remove the stored frames, now that verdict and report exist; set unread ones aside."""
        if self.store is None:
            return
        folder = self.store.stop_writing()
        if self._unread:
            set_aside(self.out, folder)
        else:
            discard(self.out, folder)

    def _annotated(self, verdict: Verdict, *, final: bool = False) -> Verdict:
        if self.interruption is None:
            return verdict
        return self.interruption.annotate(verdict, final=final)

    def _on_accepted(self, frame: Frame) -> None:
        stored = self.interruption is not None and frame.index < self.interruption.source.count
        if self.store is not None and not stored:
            self.store.add(frame)

    def _on_progress(self, progress: Progress) -> None:
        progress = replace(progress, verdict=self._annotated(progress.verdict))
        slide_log.deadline(self.slide, progress)
        if self.committer.update(progress):
            self._note_flag()
        # Only shown from here on, after the commit; and before the pictures are drawn, so that the
        # decision is never seen without its figures.
        self.progress = progress
        draw, self._draw_later = self._draw_later, None
        if draw is not None:
            draw()
        if progress.finished_ns is not None and self._newest is not None:
            gallery = self.recorder.gallery
            self.best_cells = tuple(gallery.best_cells())
            self.examined = self._newest
            if not self._newest.rejected:
                self.used = self._newest
            # Last: the page asks for the pictures when this changes.
            self.frames = (gallery.frames_used, gallery.frames_rejected)
        enough, tally = self.enough_cells, progress.verdict.tally
        if enough is not None and tally.scored + tally.not_needed >= enough:
            self.end()
        self.on_change()

    def _on_tick(self) -> None:
        if self.committer.tick():
            self._note_flag()
            self.on_change()

    def _note_flag(self) -> None:
        committed = self.committer.committed
        flag = None if committed is None else raised_flag(committed)
        if committed is None or flag is None:
            return
        if self.store is not None:
            self.store.note_flag(flag)
        self.on_committed(self.recorder.with_origin(committed), self.committer.record)

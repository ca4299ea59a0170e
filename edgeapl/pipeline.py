"""Examine one slide: the only place with threads and queues.

One thread reads, gates, segments and crops; the calling thread runs the networks in full batches
that may span frames, adds up the answers and hands on every finished frame. The queue between
them is bounded, so a fast source waits and memory stays flat.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edgeapl.errors import CameraError, EdgeAplError, EndOfSource, InputError, SourceStalled
from edgeapl.examination import FrameInWork, PreparedFrame, SlideExamination, prepare_frame
from edgeapl.model import Model
from edgeapl.protocols import FrameSource
from edgeapl.stages.findings import Finding
from edgeapl.stages.gate import FieldMemory
from edgeapl.types import ExaminedFrame, Verdict

QUEUE_FRAMES = 3
"""Prepared frames waiting for the networks: enough to hide one slow frame, few enough to hold."""

MOST_HELD_BYTES = 256 << 20
"""Frames wait for a batch of their rarest kind of cell to fill up; above this no longer."""

READ_TIMEOUT_S = 0.5
"""How often a silent source lets the pipeline look whether it shall stop."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an examination stands; sent after every finished frame.

    verdict : the answer as it stands, not committed.
    frames : frames finished so far, rejected ones included.
    """

    verdict: Verdict
    frames: int


@dataclass(frozen=True, slots=True)
class SlideOptions:
    """How to examine a slide.

    crops : every image is one cell.
    batch_size : cells in one run of a network.
    findings : what is known about the slide before it is examined.
    max_frames : stop after this many frames; None for all.
    stop_when_idle : end a live slide when no frame came for this many seconds; None for never.
    """

    crops: bool = False
    batch_size: int = 16
    findings: tuple[Finding, ...] = ()
    max_frames: int | None = None
    stop_when_idle: float | None = None


@dataclass(frozen=True, slots=True)
class SlideOutcome:
    """What came of a slide: its verdict, not yet committed, and the errors met on the way."""

    verdict: Verdict
    errors: tuple[EdgeAplError, ...]


@dataclass(slots=True)
class Observer:
    """Who is told what happens; both calls come from the thread that called `examine_slide`."""

    on_frame: Callable[[ExaminedFrame], None] = field(default=lambda examined: None)
    on_progress: Callable[[Progress], None] | None = None


_END = object()


class _Producer:
    """Reads and prepares frames in a thread of its own."""

    def __init__(
        self, model: Model, source: FrameSource, options: SlideOptions, stop: threading.Event
    ) -> None:
        self._model = model
        self._source = source
        self._options = options
        self._stop = stop
        self._queue: queue.Queue[object] = queue.Queue(maxsize=QUEUE_FRAMES)
        self._thread = threading.Thread(target=self._run, name="edgeapl-prepare", daemon=True)

    def __enter__(self) -> _Producer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def take(self, *, wait: bool) -> PreparedFrame | EdgeAplError | None:
        """Give the next item; None at the end. Raises queue.Empty when there is none and not wait.

        Raises what the thread raised, when that was not an EdgeAplError.
        """
        item = self._queue.get(block=wait)
        if item is _END:
            return None
        if isinstance(item, EdgeAplError | PreparedFrame):
            return item
        assert isinstance(item, BaseException)
        raise item

    def _run(self) -> None:
        try:
            self._read_all()
            self._put(_END)
        except BaseException as error:  # noqa: BLE001 - handed to the calling thread, which raises it
            self._put(error)

    def _read_all(self) -> None:
        memory = FieldMemory()
        frames = 0
        idle_s = 0.0
        while not self._stop.is_set() and frames != self._options.max_frames:
            try:
                frame = self._source.read(READ_TIMEOUT_S)
            except EndOfSource:
                return
            except SourceStalled:
                idle_s += READ_TIMEOUT_S
                limit = self._options.stop_when_idle
                if limit is not None and idle_s >= limit:
                    return
                continue
            except InputError as error:
                self._put(error)
                continue
            except CameraError as error:
                self._put(error)
                return
            frames += 1
            idle_s = 0.0
            prepared, memory = prepare_frame(self._model, frame, memory, crops=self._options.crops)
            self._put(prepared)

    def _put(self, item: object) -> None:
        """Wait for room; give up when nobody will take the item any more."""
        while True:
            try:
                self._queue.put(item, timeout=READ_TIMEOUT_S)
            except queue.Full:
                if self._stop.is_set():
                    return
            else:
                return


def examine_slide(
    model: Model,
    slide: str,
    source: FrameSource,
    options: SlideOptions,
    observer: Observer,
    stop: threading.Event | None = None,
) -> SlideOutcome:
    """Examine all frames of a slide, or until `stop` is set, and judge it.

    Parameters
    ----------
    model : the bundle, ready to run.
    slide : identifier that the verdict will carry.
    source : gives the frames; closed by the caller.
    options, observer : how, and who is told.
    stop : set it from anywhere to close the slide; what was read by then is still finished.

    Errors of single frames are collected; the slide then ends in REVIEW unless it is flagged.
    """
    stop = stop or threading.Event()
    examination = SlideExamination(
        model, slide, batch_size=options.batch_size, live=source.live, known=options.findings
    )
    waiting: deque[FrameInWork] = deque()
    # A live slide is answered frame by frame; a folder waits for full batches.
    fill = not source.live
    with _Producer(model, source, options, stop) as producer:
        while (item := producer.take(wait=True)) is not None:
            if isinstance(item, EdgeAplError):
                examination.note_error(item)
            else:
                waiting.append(examination.enter(item))
                held = sum(work.held_bytes for work in waiting)
                examination.classify_waiting(waiting, flush=not fill or held > MOST_HELD_BYTES)
            _hand_on(examination, waiting, observer)
        examination.classify_waiting(waiting, flush=True)
        _hand_on(examination, waiting, observer)
    return SlideOutcome(examination.verdict(), examination.errors)


def _hand_on(
    examination: SlideExamination, waiting: deque[FrameInWork], observer: Observer
) -> None:
    """Finish the frames at the head of the line whose cells all have an answer."""
    while waiting and waiting[0].done:
        observer.on_frame(examination.leave(waiting.popleft()))
        if observer.on_progress is not None:
            observer.on_progress(Progress(examination.verdict(), examination.frames))

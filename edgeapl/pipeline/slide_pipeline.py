"""Examine one slide, or several after one another."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from edgeapl.cores import cpu_cores
from edgeapl.model import Model
from edgeapl.pipeline.examiner import Examiner
from edgeapl.pipeline.jobs import Barrier, SlideJob
from edgeapl.pipeline.options import Observer, SlideOptions, SlideOutcome
from edgeapl.pipeline.producer import Producer
from edgeapl.protocols import FrameSource

MOST_SEARCHERS = 4
"""Frames of a folder that are searched for cells at the same time: light networks, or a GPU, are
done with a frame sooner than one core has searched the next. More would wait for the reader."""


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
    source : supplies the frames; closed by the caller.
    options, observer : how to examine it, and whom to tell.
    stop : set it from anywhere to close the slide; what was read by then is still finished.

    Errors of single frames are collected; the slide then ends in REVIEW unless it is flagged.
    """
    outcomes: list[SlideOutcome] = []
    job = SlideJob(slide, source, options, observer, on_outcome=outcomes.append)
    # A live slide is answered frame by frame; a folder waits for full batches.
    fill = not source.live and options.budget is None
    with (
        Producer(model, [job], stop or threading.Event(), _searchers() if fill else 1) as producer,
        Examiner(model, producer, options.batch_size, options.budget, fill=fill) as examiner,
    ):
        examiner.begin(job)
        examiner.run()
    return outcomes[0]


def examine_slides(
    model: Model,
    jobs: Iterable[SlideJob | Barrier],
    *,
    batch_size: int | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Examine slides one after another, in batches that span slides as well as frames.

    The next slide is read while the last cells of those before are examined. Verdicts come in the
    order of the jobs. An error that a source or the jobs raise ends the run, after the slides
    before have their verdicts.

    Parameters
    ----------
    model : the bundle, ready to run.
    jobs : slides without a budget that are not live, and barriers. Taken in another thread, each
        when the one before is read.
    batch_size : cells in one run of a network; None for what is best for the model.
    stop : set here when the run ends early, for jobs that take long to make; or from anywhere, to
        read nothing more.
    """
    with (
        Producer(model, jobs, stop or threading.Event(), _searchers()) as producer,
        Examiner(model, producer, batch_size, None, fill=True) as examiner,
    ):
        examiner.run()


def _searchers() -> int:
    return min(MOST_SEARCHERS, cpu_cores())

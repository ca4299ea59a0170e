"""Glass to flag: the station's session, from a captured frame to the commit that includes it."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from edgeapl.bench.candidate import Candidate
from edgeapl.bench.runner import REST, Deadline, FrameTimes, Pass, grown, rest_of
from edgeapl.bench.sources import BenchCamera, FrameRequest, Now, read_all
from edgeapl.bench.workload import BenchSlide
from edgeapl.journal import Journal
from edgeapl.pipeline import SlideOptions
from edgeapl.station.session import Session
from edgeapl.types import Decision, Frame, Verdict


class TimedJournal:
    """Commits to another journal, and records when each commit had returned and what it held.

    first : a frame's source to when the first commit that holds it was done (monotonic ns) and its
    duration in seconds. flag_ns : when the first FLAG was committed.
    """

    def __init__(self, journal: Journal, now: Now) -> None:
        self._journal = journal
        self._now = now
        self._lock = threading.Lock()
        self.first: dict[str, tuple[int, float]] = {}
        self.flag_ns: int | None = None

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self._journal.path

    def commit(self, verdict: Verdict, *, provisional: bool = False) -> str:
        """Commit; see `edgeapl.journal.Journal.commit`."""
        start = self._now()
        row = self._journal.commit(verdict, provisional=provisional)
        done = self._now()
        with self._lock:
            for source, _ in verdict.frames:
                self.first.setdefault(source, (done, (done - start) / 1e9))
            if verdict.decision is Decision.FLAG and self.flag_ns is None:
                self.flag_ns = done
        return row


@dataclass(slots=True)
class StationRunner:
    """Implements Runner with `edgeapl.station.session.Session`, hosted networks and a report.

    The camera has a new picture whenever the station asks for one. A frame that changes nothing
    waits to be committed together with others; that wait is part of its time and shown as `hold`.

    stop_error : see `edgeapl.pipeline.SlideOptions`.
    """

    candidate: Candidate
    journal: Journal
    out: Path
    budget_s: float
    stop_error: float | None = None
    now: Now = time.monotonic_ns
    _pictures: dict[str, tuple[Frame, ...]] = field(default_factory=dict)

    def run(self, slide: BenchSlide, most: int | None, until: Deadline) -> Pass:
        """Run a slide, or its first `most` frames."""
        hosted = self.candidate.hosted
        assert hosted is not None  # opened for this runner
        if slide.name not in self._pictures:
            self._pictures[slide.name] = read_all(slide)
        pictures = self._pictures[slide.name][:most]
        journal = TimedJournal(self.journal, self.now)
        times: dict[int, FrameTimes] = {}
        finished_ns: dict[int, int] = {}
        before: dict[str, float] = {}
        answered_ns: list[int] = []
        with BenchCamera(f"bench://{slide.name}", pictures, self.now) as camera:
            session = Session(
                hosted,
                slide.name,
                self.out,
                cast(Journal, journal),
                SlideOptions(
                    batch_size=self.candidate.model.batch_size,
                    budget=hosted.budget(self.budget_s),
                    stop_error=self.stop_error,
                ),
            )

            def on_change() -> None:
                progress, examined = session.progress, session.examined
                if not answered_ns and progress is not None and progress.verdict.tally.scored:
                    answered_ns.append(self.now())
                if progress is None or progress.finished_ns is None or examined is None:
                    return
                index = examined.frame.index
                if index in times:
                    return
                stages = {
                    **camera.shots[index].stages,
                    **grown(before, progress.verdict.timings),
                }
                before.update(progress.verdict.timings)
                finished_ns[index] = self.now()
                times[index] = FrameTimes.of(examined, stages)
                if until.over():
                    session.stop.set()

            session.on_change = on_change
            start = self.now()
            closed = session.run(camera)
            seconds = (self.now() - start) / 1e9
            shots = dict(camera.shots)
        shutil.rmtree(self.out / "slides", ignore_errors=True)
        frames, latencies = _joined(times, finished_ns, shots, journal, camera.name)
        errors = tuple(f"{one['what']}: {one['which']}" for one in closed.record["errors"])
        return Pass(
            slide.name,
            frames,
            latencies,
            seconds,
            closed.verdict,
            errors,
            flag_s=_since(shots, journal.flag_ns),
            answer_s=_since(shots, answered_ns[0] if answered_ns else None),
        )


def _since(shots: dict[int, FrameRequest], at_ns: int | None) -> float | None:
    """Return the seconds since the first picture was requested."""
    return None if at_ns is None or 0 not in shots else (at_ns - shots[0].issued_ns) / 1e9


def _joined(
    times: dict[int, FrameTimes],
    finished_ns: dict[int, int],
    shots: dict[int, FrameRequest],
    journal: TimedJournal,
    camera: str,
) -> tuple[tuple[FrameTimes, ...], tuple[float, ...]]:
    """Match each frame's stages with its commit; a rejected frame is in no verdict."""
    frames, latencies = [], []
    for index, frame in sorted(times.items()):
        commit = journal.first.get(f"{camera}#{index}")
        if commit is None:
            frames.append(frame)
            continue
        committed_ns, spent = commit
        taken = (committed_ns - shots[index].issued_ns) / 1e9
        hold = max(0.0, (committed_ns - finished_ns[index]) / 1e9 - spent)
        stages = {**frame.stages, "commit": spent, "hold": hold}
        stages[REST] = rest_of(taken, stages)
        frames.append(replace(frame, stages=stages))
        latencies.append(taken)
    return tuple(frames), tuple(latencies)

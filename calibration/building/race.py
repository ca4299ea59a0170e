"""Candidates against each other, each in the settings in which it is the fastest here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeapl.bundle.load import Bundle
from edgeapl.calibration.building.candidates import Candidate, Say, proof_runtime
from edgeapl.calibration.building.files import made_opener
from edgeapl.calibration.building.timing import (
    Measured,
    Timed,
    best_settings,
    time_in_turns,
)
from edgeapl.cores import cpu_cores
from edgeapl.engines.in_turn import Opener
from edgeapl.engines.registry import BACKENDS, open_engine
from edgeapl.engines.store.record import Settings
from edgeapl.errors import EngineError
from edgeapl.model.opening import own_batch_size
from edgeapl.protocols import Engine
from edgeapl.types import UInt8

BUNDLE = "bundle"
"""Stands for the bundle's own networks among the candidates."""

PLAN = Settings(threads=1, batch_size=16)
"""Of engines for a GPU, which are not timed."""


@dataclass(frozen=True, slots=True)
class Race:
    """What was measured.

    best : the fastest. measured : candidate to the best settings. seconds : candidate, and
    `BUNDLE`, to seconds for 16 cells in these settings. not_run : candidate to why it was not
    timed.
    """

    best: Candidate
    measured: Mapping[str, Measured]
    seconds: Mapping[str, float]
    not_run: Mapping[str, str]

    def not_picked(self, problems: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Say of every other candidate why it was not the one.

        problems : candidate to what its proof found; one that ran nevertheless was only slower.
        """
        best = self.seconds[self.best.name]
        failed = {
            name: "; ".join(found)
            for name, found in problems.items()
            if found and name != self.best.name
        }
        slower = {
            name: f"takes {self.seconds[name] / best:.2f} times as long as {self.best.name}"
            for name in self.measured
            if name != self.best.name
        }
        return {**failed, **slower, **self.not_run}


def run_race(bundle: Bundle, candidates: Sequence[Candidate], crops: UInt8, say: Say) -> Race:
    """Find the best settings of each candidate, then let them take turns.

    Parameters
    ----------
    candidates : one or more; one that can not be run loses, and it is said why.
    crops : uint8 (N, size, size, 3) RGB.

    Raises EngineError when none can be run. A plan that can not run here is timed as its own graph
    in onnxruntime, which tells nothing about the GPU: it is only ever built when it was asked for.
    """
    measured: dict[str, Measured] = {}
    not_run: dict[str, str] = {}
    for one in candidates:
        say(f"{one.name}: measure workers, threads and batch")
        try:
            measured[one.name] = _settings(bundle, one, crops)
        except EngineError as error:
            if len(not_run) == len(candidates) - 1:
                raise
            not_run[one.name] = f"can not be run: {error}"
    running = [one for one in candidates if one.name in measured]
    say("time candidates in turns")
    seconds = _time(bundle, running, measured, crops)
    best = min(running, key=lambda one: (seconds[one.name], one.name))
    return Race(best, measured, seconds, not_run)


def _settings(bundle: Bundle, one: Candidate, crops: UInt8) -> Measured:
    if one.target not in BACKENDS:
        return Measured(PLAN, {})

    def opener(settings: Settings) -> Opener:
        return made_opener(one.networks, one.target, settings)

    return best_settings(bundle.manifest, opener, crops, cpu_cores())


def _time(
    bundle: Bundle, candidates: Sequence[Candidate], measured: Mapping[str, Measured], crops: UInt8
) -> dict[str, float]:
    """Give seconds for 16 cells per candidate, and for the bundle's own networks."""
    batch_size = own_batch_size(bundle.manifest.crop.size_px)
    own = Settings(threads=1, batch_size=batch_size, workers=cpu_cores())
    openers: dict[str, Opener] = {BUNDLE: _bundle_opener(bundle, own)}
    runs = {BUNDLE: Timed(BUNDLE, own.batch_size, own.workers or 1)}
    for one in candidates:
        settings = measured[one.name].settings
        openers[one.name] = made_opener(one.networks, proof_runtime(one.target), settings)
        runs[one.name] = Timed(one.name, settings.batch_size, settings.workers or 1)
    return time_in_turns(bundle.manifest, openers, runs, crops)


def _bundle_opener(bundle: Bundle, settings: Settings) -> Opener:
    """Give what opens the bundle's own networks as the station does when it has no engines."""

    def open_one(name: str) -> Engine:
        model = bundle.read(bundle.manifest.networks[name].file)
        return open_engine("onnxruntime", name, model, threads=settings.threads)

    return open_one

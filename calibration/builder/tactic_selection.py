"""Selects the fastest candidate, each in its own fastest settings on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeapl.bundle.load import Bundle
from edgeapl.calibration.builder.candidates import Candidate
from edgeapl.calibration.builder.files import file_opener
from edgeapl.calibration.builder.on_device import USUAL, opened_on_device, time_on_device
from edgeapl.calibration.builder.paired_timing import (
    CELLS,
    Measured,
    TimingRun,
    best_settings,
    time_interleaved,
)
from edgeapl.calibration.builder.request import Say
from edgeapl.calibration.builder.settings_race import AS_GOOD
from edgeapl.cores import cpu_cores
from edgeapl.engines.exclusive import Opener
from edgeapl.engines.registry import ON_GPU, PLANS, open_engine
from edgeapl.engines.store.record import Precision, Settings
from edgeapl.errors import EngineError
from edgeapl.model.resolution import own_batch_size
from edgeapl.protocols import Engine
from edgeapl.types import UInt8

BUNDLE = "bundle"
"""Name for the bundle's own networks among the candidates."""

PREFERRED: tuple[Precision, ...] = ("fp16", "fp32", "tf32", "int8")
"""Preference among plans that cannot be timed here. Convolutions of TensorRT-RTX take eight bits
and return floats, which another kernel has to quantise again: INT8 moves more data than FP16 there,
and is selected only if it is measured to be faster (docs/gpu.md).
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """What was measured.

    best : the fastest; of those that cannot be timed here, the one with the preferred precision.
    measured : candidate to its best settings. seconds : timed candidate, and `BUNDLE`, to seconds
    for 16 cells in these settings. not_run : candidate to why it was not timed.
    """

    best: Candidate
    measured: Mapping[str, Measured]
    seconds: Mapping[str, float]
    not_run: Mapping[str, str]

    def not_picked(self, problems: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Return why every other candidate was not selected.

        problems : candidate to what its proof found; one that ran all the same was only slower.
        """
        name = self.best.name
        failed = {one: "; ".join(found) for one, found in problems.items() if found and one != name}
        if name not in self.seconds:
            text = f"not timed, as its runtime cannot run here: {name} is preferred"
            others = {one: text for one in self.measured if one != name}
            return {**failed, **others, **self.not_run}
        best = self.seconds[name]
        slower = {
            one: f"takes {self.seconds[one] / best:.2f} times as long as {name}"
            for one in self.measured
            if one != name and one in self.seconds
        }
        return {**failed, **slower, **self.not_run}


def select_fastest(
    bundle: Bundle, candidates: Sequence[Candidate], crops: UInt8, say: Say, device: int = 0
) -> Selection:
    """Find the best settings of each candidate, then time those on the CPU interleaved.

    Parameters
    ----------
    candidates : one or more; one that cannot be run loses, with the reason.
    crops : uint8 (N, size, size, 3) RGB. device : number of the GPU.

    Raises EngineError when none can be run. Plans are timed on the GPU, through their chain, one
    after another: only one set of them has to fit into its memory, and other load on the CPU hardly
    slows them. Without a GPU they are not timed at all.
    """
    measured: dict[str, Measured] = {}
    not_run: dict[str, str] = {}
    for one in candidates:
        if one.plans is not None:
            say(f"{one.name}: measure batch")
        elif one.target not in PLANS:
            say(f"{one.name}: measure workers, threads and batch")
        try:
            measured[one.name] = _settings(bundle, one, crops, device)
        except EngineError as error:
            if len(not_run) == len(candidates) - 1:
                raise
            not_run[one.name] = f"cannot be run: {error}"
    running = [one for one in candidates if one.name in measured]
    say("time candidates in turns")
    seconds = _time(bundle, running, measured, crops, device)
    return Selection(_best(running, seconds), measured, seconds, not_run)


def _best(running: Sequence[Candidate], seconds: Mapping[str, float]) -> Candidate:
    timed = [one for one in running if one.name in seconds]
    if not timed:
        return min(running, key=lambda one: (PREFERRED.index(one.precision), one.name))
    best = min(timed, key=lambda one: (seconds[one.name], one.name))
    if best.target in PLANS and best.precision == "int8":
        # A few runs cannot tell smaller differences, and fewer bits have no value by themselves.
        limit = AS_GOOD * seconds[best.name]
        even = [one for one in timed if one.target == best.target and seconds[one.name] <= limit]
        return min(even, key=lambda one: (PREFERRED.index(one.precision), seconds[one.name]))
    return best


def _settings(bundle: Bundle, one: Candidate, crops: UInt8, device: int) -> Measured:
    if one.plans is not None:
        with opened_on_device(bundle, one.plans) as model:
            return time_on_device(bundle, model, crops)
    if one.target in PLANS:
        return Measured(USUAL, {})

    def opener(settings: Settings) -> Opener:
        return file_opener(one.networks, one.target, settings, device)

    # One thread calls a GPU: more would wait for each other there.
    cores = 1 if one.target in ON_GPU else cpu_cores()
    return best_settings(bundle.manifest, opener, crops, cores)


def _time(
    bundle: Bundle,
    candidates: Sequence[Candidate],
    measured: Mapping[str, Measured],
    crops: UInt8,
    device: int,
) -> dict[str, float]:
    """Return the seconds per 16 cells of each timed candidate, and of the bundle's own networks."""
    batch_size = own_batch_size(bundle.manifest.crop.size_px)
    own = Settings(threads=1, batch_size=batch_size, workers=cpu_cores())
    openers: dict[str, Opener] = {BUNDLE: _bundle_opener(bundle, own)}
    runs = {BUNDLE: TimingRun(BUNDLE, own.batch_size, own.workers or 1)}
    on_device: dict[str, float] = {}
    for one in candidates:
        settings = measured[one.name].settings
        if one.plans is not None:
            on_device[one.name] = CELLS * measured[one.name].seconds[settings.text]
        elif one.target not in PLANS:
            openers[one.name] = file_opener(one.networks, one.target, settings, device)
            runs[one.name] = TimingRun(one.name, settings.batch_size, settings.workers or 1)
    return {**time_interleaved(bundle.manifest, openers, runs, crops), **on_device}


def _bundle_opener(bundle: Bundle, settings: Settings) -> Opener:
    """Return an opener of the bundle's own networks, as the station opens them without engines."""

    def open_one(name: str) -> Engine:
        model = bundle.read(bundle.manifest.networks[name].file)
        return open_engine("onnxruntime", name, model, threads=settings.threads)

    return open_one

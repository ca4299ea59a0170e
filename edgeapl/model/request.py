"""What model is wanted, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from edgeapl.bundle.trust import Trust
from edgeapl.engines.store.folder import EngineFolder

WantedEngines: TypeAlias = Path | EngineFolder | Literal["auto", "none"]
"""A folder of engines, or one that was opened; ``auto``: the newest in the cache that fit, else the
bundle's own networks; ``none``: these in any case."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What is to be opened and how it is to run; `edgeapl.model.resolution.resolve` checks it.

    Parameters
    ----------
    bundle : its folder.
    engines : what runs the networks.
    threads : CPU threads in one run of the bundle's own networks, 1 or more; engines bring theirs.
    engine_threads : the same for engines that run on the CPU, instead of the number measured when
        they were built; None for that number.
    workers : parallel runs of the networks of cells; None for the fastest number.
    runtime : of the bundle's own networks, one of `edgeapl.engines.registry.BACKENDS`.
    pin_cores : for callers that show all cells to one network, then to the next, as `score` does;
        see `edgeapl.engines.registry.open_engine`.
    segmenter : what finds the cells, in place of the bundle's own; see
        `edgeapl.model.segmenter_choice`.
    trust : what the station requires of bundles and engines; None away from a station.
    resign : of `edgeapl.bundle.load.open_bundle`.
    self_test : compare the answers with the golden ones; only who writes these leaves it out.
    """

    bundle: Path
    engines: WantedEngines = "none"
    threads: int = 1
    engine_threads: int | None = None
    workers: int | None = 1
    runtime: str = "onnxruntime"
    pin_cores: bool = False
    segmenter: str | None = None
    trust: Trust | None = None
    resign: bool = False
    self_test: bool = True

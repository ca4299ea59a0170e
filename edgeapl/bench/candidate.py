"""A candidate: a bundle, the engines that run it, and its settings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edgeapl.bench.instrumented_engine import WorkLog, instrumented
from edgeapl.bundle.trust import Trust
from edgeapl.engines.registry import open_engine
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.engines.store.record import Settings
from edgeapl.errors import UsageError
from edgeapl.model import Model, ModelRequest
from edgeapl.model.opener import open_resolved
from edgeapl.model.resolution import resolve
from edgeapl.protocols import Engine
from edgeapl.station.hosted_model import HostedModel, open_hosted


@dataclass(frozen=True, slots=True)
class Setup:
    """What to time.

    bundle : its folder. engines : a folder, ``auto`` or ``none``; see `choose_engines`.
    threads : CPU threads inside one run of a network of the bundle; engines bring their own.
    engine_threads : the same of engines, in place of theirs; None for these.
    workers : parallel runs; None for the best number for the networks or engines.
    batch_size : cells per run; None for the best one for the networks or engines.
    trust : what the station requires of bundles and engines.
    """

    bundle: Path
    engines: Path | Literal["auto", "none"] = "auto"
    threads: int = 1
    engine_threads: int | None = None
    workers: int | None = None
    batch_size: int | None = None
    trust: Trust | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An open setup.

    model : with instrumented engines, and the workers and batch size in use. threads : per run.
    hosted : its processes, if it was opened in some.
    engines : their folder, None for the bundle's own; said : as text. refused : engines
    that could not be used, and why.
    open_s : seconds from nothing to a model that passed its self-test.
    """

    setup: Setup
    model: Model
    hosted: HostedModel | None
    ledger: WorkLog
    engines: EngineFolder | None
    threads: int
    said: str
    refused: tuple[str, ...]
    open_s: float

    def open_again(self, network: str, threads: int, workers: int) -> Engine:
        """Open another session of a network, not instrumented.

        threads : per run. workers : parallel runs.
        """
        bundle = self.model.bundle
        if self.engines is None:
            file = bundle.manifest.networks[network].file
            data = bundle.read(file)
            return open_engine("onnxruntime", network, data, threads=threads, workers=workers)
        return open_engine(
            self.engines.record.target,
            network,
            self.engines.read(network),
            threads=threads,
            workers=workers,
            origin=self.engines.origin(network),
        )

    @property
    def settings_text(self) -> str:
        """Return how it runs, for people."""
        model = self.model
        return Settings(
            threads=self.threads, batch_size=model.batch_size, workers=model.workers
        ).text

    def precision(self, network: str) -> str:
        """Return a network's precision: fp32, fp16 or int8."""
        return "fp32" if self.engines is None else self.engines.record.networks[network].precision


@contextmanager
def open_candidate(
    setup: Setup, *, hosted: bool = False, pin_cores: bool = False
) -> Iterator[Candidate]:
    """Open a setup; if `hosted`, with its networks in separate processes, as at the station.

    pin_cores : of `edgeapl.model.ModelRequest`.

    Raises BundleError or EngineError: failing engines are never replaced by others here.
    """
    start = time.monotonic_ns()
    resolved = resolve(
        ModelRequest(
            setup.bundle,
            engines=setup.engines,
            threads=setup.threads,
            engine_threads=setup.engine_threads,
            workers=setup.workers,
            pin_cores=pin_cores and not hosted,
            trust=setup.trust,
        )
    )
    chosen = resolved.chosen
    station: HostedModel | None = None
    ledger = WorkLog()
    if hosted:
        station = open_hosted(resolved)
        opened = station.model
    else:
        opened = open_resolved(resolved)
    open_s = (time.monotonic_ns() - start) / 1e9
    with station or opened:
        if setup.batch_size is not None:
            _refuse_batch(opened, setup.batch_size)
        model = instrumented(opened, ledger)
        model = replace(model, batch_size=setup.batch_size or model.batch_size)
        if station is not None:
            station = replace(station, model=model)
        refused = tuple(str(error) for error in chosen.refused)
        yield Candidate(
            setup,
            model,
            station,
            ledger,
            chosen.engines,
            resolved.threads,
            chosen.text,
            refused,
            open_s,
        )


def _refuse_batch(model: Model, batch_size: int) -> None:
    """Raise UsageError when a network of cells takes batches of another size alone."""
    for name in dict.fromkeys(role.network for role in model.bundle.manifest.roles):
        for _, shape in model.engines[name].inputs.values():
            fixed = shape[0] if shape else None
            if fixed is not None and fixed != batch_size:
                mend = f"leave --batch-size out, or give {fixed}"
                raise UsageError("network takes batches of one size", f"{name}: {fixed}", mend)

"""Engines that count their work, and keep some inputs to run them again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.bench.instrumented_chain import InstrumentedChain
from edgeapl.bench.sources import Now
from edgeapl.engines.wrapper import EngineWrapper
from edgeapl.errors import EngineError
from edgeapl.model import Model
from edgeapl.model.assembled import assemble
from edgeapl.protocols import Arrays, Engine, TransferCounts

MOST_KEPT_BYTES = 96 << 20
"""Bytes of inputs kept per network, to run it without the pipeline: 350 cells at 299 x 299."""


ON_DEVICE = "cells on the device"
"""Name for all networks of a chain: its bytes are those over the bus, frames included, and its
seconds those waited for a batch."""


@dataclass(slots=True)
class Work:
    """The work of one network: runs, rows (cells or frames) in them, bytes, seconds inside."""

    runs: int = 0
    rows: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class WorkLog:
    """The work of all networks of a model.

    keep : whether inputs are kept. kept : network to its inputs, one entry per run.
    on_error : called when a run fails.
    """

    keep: bool = False
    work: dict[str, Work] = field(default_factory=dict)
    kept: dict[str, list[Arrays]] = field(default_factory=dict)
    on_error: Callable[[], None] = lambda: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def clear(self) -> None:
        """Restart the counts; kept inputs stay."""
        with self.lock:
            self.work.clear()

    def note(self, network: str, inputs: Arrays, outputs: Arrays, seconds: float) -> None:
        """Count a successful run."""
        with self.lock:
            work = self.work.setdefault(network, Work())
            work.runs += 1
            work.rows += _rows(inputs)
            work.bytes_in += _bytes(inputs)
            work.bytes_out += _bytes(outputs)
            work.seconds += seconds
            if self.keep:
                kept = self.kept.setdefault(network, [])
                if sum(_bytes(run) for run in kept) + _bytes(inputs) <= MOST_KEPT_BYTES:
                    # A copy: a hosted network's inputs may be in memory that is reused.
                    kept.append({name: np.array(value) for name, value in inputs.items()})

    def note_batch(self, cells: int, moved: TransferCounts, seconds: float) -> None:
        """Count a batch of cells that went through all networks on a device."""
        with self.lock:
            work = self.work.setdefault(ON_DEVICE, Work())
            work.runs += 1
            work.rows += cells
            work.bytes_in += moved.up
            work.bytes_out += moved.down
            work.seconds += seconds


class InstrumentedEngine(EngineWrapper):
    """Implements Engine by another one, and writes down every run.

    All other attributes of that engine can be reached through this one.
    """

    def __init__(
        self, name: str, engine: Engine, ledger: WorkLog, now: Now = time.perf_counter_ns
    ) -> None:
        super().__init__(engine)
        self._name = name
        self._ledger = ledger
        self._now = now

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run once; see `edgeapl.protocols.Engine.run`."""
        start = self._now()
        try:
            outputs = super().run(inputs)
        except EngineError:
            self._ledger.on_error()
            raise
        self._ledger.note(self._name, inputs, outputs, (self._now() - start) / 1e9)
        return outputs

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._inner, name)


def instrumented(model: Model, ledger: WorkLog) -> Model:
    """Return the model with every network instrumented, including those that find cells."""
    engines = {name: InstrumentedEngine(name, one, ledger) for name, one in model.engines.items()}
    # The segmenter, too, must use the instrumented ones.
    parts = assemble(model.bundle, engines)
    chain = model.chain
    if chain is not None:
        chain = InstrumentedChain(chain, ledger.note_batch, ledger.on_error)
    return replace(model, engines=parts.engines, segmenter=parts.segmenter, chain=chain)


def _rows(inputs: Arrays) -> int:
    return max((value.shape[0] for value in inputs.values() if value.ndim), default=0)


def _bytes(arrays: Arrays) -> int:
    return sum(int(value.nbytes) for value in arrays.values())

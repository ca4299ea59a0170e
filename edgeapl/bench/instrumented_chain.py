"""A chain on a device that counts its work, like the engines of `instrumented_engine`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import EngineError
from edgeapl.protocols import CellChain, CellsOnFrame, TransferCounts
from edgeapl.types import Frame, UInt16

Note = Callable[[int, TransferCounts, float], None]
"""Called with a finished batch: its cells, its bus traffic, and the seconds waited for it."""


class InstrumentedChain:
    """Implements CellChain with another one, and reports every batch.

    Parameters
    ----------
    note : called with each batch. on_error : called when the device fails.
    """

    def __init__(self, chain: CellChain, note: Note, on_error: Callable[[], None]) -> None:
        self._chain = chain
        self._note = note
        self._on_error = on_error
        self._cells: deque[int] = deque()
        self._moved = chain.moved
        self.most_batches = chain.most_batches
        self.most_cells = chain.most_cells
        self.most_pixels = chain.most_pixels
        self.widest_cut = chain.widest_cut
        self.labelled = chain.labelled

    @property
    def runtime(self) -> str:
        """What runs it."""
        return self._chain.runtime

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the plan that cuts the cells."""
        return self._chain.digest

    @property
    def moved(self) -> TransferCounts:
        """What went over the bus so far."""
        return self._chain.moved

    def put(self, frame: Frame, labels: UInt16) -> int | None:
        """Start copying a frame."""
        return self._chain.put(frame, labels)

    def start(self, cells: Sequence[CellsOnFrame], networks: Sequence[str]) -> None:
        """Start a batch."""
        self._chain.start(cells, networks)
        self._cells.append(sum(len(one.labels) for one in cells))

    def finish(self) -> dict[str, dict[str, NDArray[np.generic]]]:
        """Wait for the oldest started batch."""
        cells, start = self._cells.popleft(), time.perf_counter()
        try:
            answers = self._chain.finish()
        except EngineError:
            self._on_error()
            raise
        before, self._moved = self._moved, self._chain.moved
        moved = TransferCounts(self._moved.up - before.up, self._moved.down - before.down)
        self._note(cells, moved, time.perf_counter() - start)
        return answers

    def drop(self, place: int) -> None:
        """Free a frame's place."""
        self._chain.drop(place)

    def close(self) -> None:
        """Close the other chain."""
        self._chain.close()

"""What runs batches of cells, as the scheduler sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from edgeapl.errors import EngineError
from edgeapl.inference.routing import Answer, Outputs
from edgeapl.stages.crop import CellImages
from edgeapl.types import Int64, UInt8

Networks: TypeAlias = tuple[str, ...]
"""Networks that one batch goes through, in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Cells for one run.

    networks : that the cells go through.
    cells : numbers of the cells.
    answers : cell to what other networks have answered about it so far.
    """

    networks: Networks
    cells: Sequence[int]
    answers: Mapping[int, Mapping[str, Answer | None]]


@dataclass(frozen=True, slots=True, eq=False)
class BatchResult:
    """What a run returned.

    outputs : network to its outputs, checked by `Step.checked`, one row per cell of the batch.
    cut_s : seconds in which cells were cut out of their frames.
    """

    outputs: Mapping[str, Outputs]
    cut_s: float = 0.0


PendingResult: TypeAlias = Callable[[], BatchResult]
"""Returns the result of a run that has ended; raises EngineError, or DeadlineError when the run was
cancelled. Called once."""


class Executor(Protocol):
    """Holds the images of cells and runs batches of them.

    Cells are numbered by the caller. An executor runs what it is given; which cells go together,
    and through which networks, is the scheduler's decision.
    """

    @property
    def batch_size(self) -> int:
        """Cells in a full batch."""

    @property
    def fuses(self) -> bool:
        """Whether one batch may go through several networks."""

    @property
    def held_bytes(self) -> int:
        """Memory of the images that it holds, in addition to their frames."""

    @property
    def is_running(self) -> bool:
        """Whether a batch was started that `finished` has not returned."""

    @property
    def has_room(self) -> bool:
        """Whether another batch may be started."""

    @property
    def is_saturated(self) -> bool:
        """Whether a further batch would only wait behind others."""

    @property
    def is_starved(self) -> bool:
        """Whether added cells cannot be admitted until others leave, so batches will not fill."""

    def accepts(self, images: CellImages | Sequence[UInt8]) -> bool:
        """Whether it can run cells given like this."""

    def add(self, cells: Int64, images: CellImages | Sequence[UInt8]) -> None:
        """Add cells, int64 (N,), and where their images come from, one row per cell."""

    def admit(self) -> Iterable[tuple[Sequence[int], EngineError | None]]:
        """Yield added cells that may be put in batches from now on, or that are lost to an error.

        The caller discards lost cells before it takes the next item.
        """

    def discard(self, cell: int) -> None:
        """Forget a cell; one that is not held is ignored. A run that it is in goes on."""

    def start(self, batch: Batch) -> None:
        """Start a batch; only while `has_room`.

        Raises EngineError or DeadlineError when it could not be started.
        """

    def wait_s(self, *, flush: bool, idle: bool) -> float | None:
        """How long a step should wait for a batch to end, in s; None for as long as it takes.

        Parameters
        ----------
        flush : nothing more will be added for now.
        idle : before the step there was nothing to start.
        """

    def finished(self, wait_s: float | None) -> Sequence[tuple[Batch, PendingResult]]:
        """Return batches that have ended, after waiting at most `wait_s` for one; None for ever."""

    def close(self) -> None:
        """Wait for the runs under way, whose results are dropped, and release everything."""

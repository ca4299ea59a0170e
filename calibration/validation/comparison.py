"""Runs two engines of one network on the same inputs, and records how far they differ."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.wrapper import EngineWrapper
from edgeapl.errors import EngineError
from edgeapl.protocols import Arrays, Engine

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """How far two engines differ in one output, on the same inputs.

    rows : compared. mean : of all absolute differences. p99, largest : over rows, of the largest
    difference in a row. span : largest absolute value of the reference.
    Infinite if the candidate output is not a number.
    """

    network: str
    output: str
    rows: int
    mean: float
    p99: float
    largest: float
    span: float


@dataclass(slots=True)
class DifferenceAccumulator:
    """Accumulates the differences of one output."""

    worst: list[Float64] = field(default_factory=list)
    total: float = 0.0
    numbers: int = 0
    span: float = 0.0

    def add(self, have: NDArray[np.generic], want: NDArray[np.generic]) -> None:
        """Add some rows, (N, ...) both."""
        wanted = np.asarray(want, dtype=np.float64).reshape(len(want), -1)
        apart = np.abs(np.asarray(have, dtype=np.float64).reshape(wanted.shape) - wanted)
        apart[~np.isfinite(apart)] = np.inf
        self.worst.append(apart.max(axis=1, initial=0.0))
        self.total += float(apart.sum())
        self.numbers += apart.size
        self.span = max(self.span, float(np.abs(wanted).max(initial=0.0)))

    def difference(self, network: str, output: str) -> OutputDifference:
        """Return the statistics so far."""
        worst = np.concatenate(self.worst)
        return OutputDifference(
            network=network,
            output=output,
            rows=len(worst),
            mean=self.total / max(1, self.numbers),
            p99=percentile_99(worst),
            largest=float(worst.max(initial=0.0)),
            span=self.span,
        )


def percentile_99(values: Float64) -> float:
    """Return the 99th percentile, rounded up to an observed value; 0 if there are none."""
    return float(np.quantile(values, 0.99, method="higher")) if len(values) else 0.0


class PairedEngine(EngineWrapper):
    """Implements Engine: answers as the reference does, and asks the candidate the same.

    Parameters
    ----------
    name : of the network. reference, candidate : engines, closed by their owner.
    seen : output to its differences, filled as the engine runs.
    """

    def __init__(
        self,
        name: str,
        reference: Engine,
        candidate: Engine,
        seen: dict[str, DifferenceAccumulator],
    ) -> None:
        super().__init__(reference)
        self._name = name
        self._candidate = candidate
        self._seen = seen

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run both.

        Raises EngineError when either fails, or the candidate's outputs have other names or
        shapes.
        """
        wanted = super().run(inputs)
        given = self._candidate.run(inputs)
        for output, want in wanted.items():
            name = f"{self._name}.{output}"
            if output not in given:
                raise EngineError("engine lacks an output", name, "build it again")
            have = given[output]
            if have.shape != want.shape:
                shapes = f"expected {want.shape}, got {have.shape}"
                raise EngineError("engine output has the wrong shape", name, shapes)
            if np.issubdtype(want.dtype, np.floating):
                self._seen.setdefault(output, DifferenceAccumulator()).add(have, want)
        return wanted

    def close(self) -> None:
        """Do nothing: both engines belong to the caller."""

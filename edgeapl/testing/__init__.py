"""Stand-ins for clocks, sources, engines and GPUs, for tests of code that uses EdgeAPL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgeapl.closable import ClosesItself
from edgeapl.errors import EndOfSource, EngineError
from edgeapl.protocols import Arrays
from edgeapl.testing.gpu import FakeDriver
from edgeapl.testing.gpu_log import Work
from edgeapl.types import Frame

__all__ = ["FakeClock", "FakeDriver", "FakeEngine", "ScriptedSource", "Work"]


class FakeClock:
    """Implements Clock without waiting: time moves only by `sleep` and `move`.

    naps : every sleep so far, seconds.
    """

    def __init__(self, start_ns: int = 0) -> None:
        self._now = start_ns
        self.naps: list[float] = []

    def monotonic_ns(self) -> int:
        """Return the time so far."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move time on at once."""
        self.naps.append(seconds)
        self.move(seconds)

    def move(self, seconds: float) -> None:
        """Move time on."""
        self._now += int(seconds * 1e9)


class ScriptedSource(ClosesItself):
    """Implements FrameSource from a list: returns its frames, raises its errors, then ends.

    closed : whether `close` was called.
    """

    def __init__(
        self, script: Iterable[Frame | Exception], *, live: bool = False, name: str = "script"
    ) -> None:
        self.live = live
        self.name = name
        self.closed = False
        self._script = iter(script)

    def read(self, timeout_s: float) -> Frame:
        """Return or raise the next item."""
        if self.closed:
            raise EndOfSource
        try:
            item = next(self._script)
        except StopIteration:
            raise EndOfSource from None
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        """End the script."""
        self.closed = True


class FakeEngine:
    """Implements Engine with a Python function.

    Parameters
    ----------
    function : from named input arrays to named output arrays.
    inputs : input name to (numpy dtype name, shape), None for a free dimension.
    outputs : output names.
    fail_on : numbers of the runs, from 0, that raise EngineError.
    """

    runtime = "fake engine"
    digest = "0" * 64

    def __init__(
        self,
        function: Callable[[Arrays], Mapping[str, NDArray[np.generic]]],
        inputs: Mapping[str, tuple[str, tuple[int | None, ...]]],
        outputs: tuple[str, ...],
        fail_on: Iterable[int] = (),
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.runs = 0
        self.closed = False
        self._function = function
        self._fail_on = frozenset(fail_on)

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Call the function, or fail as told."""
        number = self.runs
        self.runs += 1
        if self.closed or number in self._fail_on:
            raise EngineError("engine failed", f"run {number}", "told to by the test")
        if set(inputs) != set(self.inputs):
            raise EngineError("inputs do not fit", sorted(inputs), f"give {sorted(self.inputs)}")
        return {name: np.array(value) for name, value in self._function(inputs).items()}

    def close(self) -> None:
        """Refuse all further runs."""
        self.closed = True

"""Engines that are opened when they are asked for, and closed when the next one is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np
from numpy.typing import NDArray

from edgeapl.closing import ClosesItself
from edgeapl.protocols import Arrays, Engine


class OneAtATime(ClosesItself, Mapping[str, Engine]):
    """A mapping of engines that holds one of them in memory.

    Parameters
    ----------
    names : networks. opener : makes an engine ready to run.
    """

    def __init__(self, names: tuple[str, ...], opener: Callable[[str], Engine]) -> None:
        self._names = names
        self._opener = opener
        self._open: tuple[str, Engine] | None = None

    def __getitem__(self, name: str) -> Engine:
        if name not in self._names:
            raise KeyError(name)
        if self._open is None or self._open[0] != name:
            self.close()
            self._open = (name, self._opener(name))
        return self._open[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def close(self) -> None:
        """Close the engine that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


@contextmanager
def opened(names: Iterable[str], opener: Callable[[str], Engine]) -> Iterator[dict[str, Engine]]:
    """Open a few engines together, for those that take turns, and close them at the end."""
    with ExitStack() as stack:
        engines: dict[str, Engine] = {}
        for name in names:
            engines[name] = opener(name)
            stack.callback(engines[name].close)
        yield engines


class Recorder:
    """An engine that keeps the first rows it was given.

    Parameters
    ----------
    inner : the engine that answers. kept : list that gets the rows. most : rows to keep.
    """

    def __init__(self, inner: Engine, kept: list[NDArray[np.generic]], most: int) -> None:
        self._inner = inner
        self._kept = kept
        self._most = most
        self.runtime = inner.runtime
        self.digest = inner.digest
        self.inputs = inner.inputs
        self.outputs = inner.outputs

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run the inner engine; see `edgeapl.protocols.Engine.run`."""
        (rows,) = inputs.values()
        missing = self._most - sum(len(part) for part in self._kept)
        if missing > 0:
            self._kept.append(np.array(rows[:missing]))
        return self._inner.run(inputs)

    def close(self) -> None:
        """Close the inner engine."""
        self._inner.close()

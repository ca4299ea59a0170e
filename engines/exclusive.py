"""Engines of which one at a time is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edgeapl.closable import ClosesItself
from edgeapl.protocols import Arrays, Engine

Opener = Callable[[str], Engine]
"""Opens the network of this name."""

Watcher = Callable[[str, Arrays, Arrays], None]
"""Called with the name, the inputs and the outputs of every run that succeeded."""


class _OpenEngine:
    """The one engine that is open."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._name: str | None = None
        self._engine: Engine | None = None

    def engine(self, name: str) -> Engine:
        if self._engine is None or self._name != name:
            self.close()
            self._name, self._engine = name, self._opener(name)
        return self._engine

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self._engine = None


class ExclusiveEngine:
    """Implements Engine: opens its network when it is used, after closing the one before."""

    def __init__(self, name: str, opened: _OpenEngine, watcher: Watcher | None) -> None:
        self._name = name
        self._open = opened
        self._watcher = watcher

    @property
    def runtime(self) -> str:
        """What runs it."""
        return self._open.engine(self._name).runtime

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of its file."""
        return self._open.engine(self._name).digest

    @property
    def inputs(self) -> Mapping[str, tuple[str, tuple[int | None, ...]]]:
        """Input name to (numpy dtype name, shape)."""
        return self._open.engine(self._name).inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output names."""
        return self._open.engine(self._name).outputs

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run once; see `edgeapl.protocols.Engine.run`."""
        outputs = self._open.engine(self._name).run(inputs)
        if self._watcher is not None:
            self._watcher(self._name, inputs, outputs)
        return outputs

    def close(self) -> None:
        """Close the engine that is open."""
        self._open.close()


class ExclusiveEngines(ClosesItself, Mapping[str, Engine]):
    """A mapping of engines of which one at a time is in memory.

    Unlike a plain mapping it may be kept by code that needs several engines, such as a detector.

    Parameters
    ----------
    names : networks. opener : opens one.
    watcher : called with the name, the inputs and the outputs of every run that succeeded. The
        network is then in memory, so that it may be run again.
    """

    def __init__(
        self, names: tuple[str, ...], opener: Opener, watcher: Watcher | None = None
    ) -> None:
        self._open = _OpenEngine(opener)
        self._engines = {name: ExclusiveEngine(name, self._open, watcher) for name in names}

    def __getitem__(self, name: str) -> Engine:
        return self._engines[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._engines)

    def __len__(self) -> int:
        return len(self._engines)

    def close(self) -> None:
        """Close the engine that is open."""
        self._open.close()

"""Engines of which one at a time is in memory, and what they were shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edgeapl.closable import ClosesItself
from edgeapl.protocols import Arrays, Engine

Opener = Callable[[str], Engine]
"""Makes the network of this name ready to run."""

Watcher = Callable[[str, Arrays], None]
"""Told the name and the inputs of every run that succeeded."""


class _Turn:
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


class TurnEngine:
    """Implements Engine: opens itself when it is asked, after closing whichever was open."""

    def __init__(self, name: str, turn: _Turn, watcher: Watcher | None) -> None:
        self._name = name
        self._turn = turn
        self._watcher = watcher

    @property
    def runtime(self) -> str:
        """What runs it."""
        return self._turn.engine(self._name).runtime

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of its file."""
        return self._turn.engine(self._name).digest

    @property
    def inputs(self) -> Mapping[str, tuple[str, tuple[int | None, ...]]]:
        """Input name to (numpy dtype name, shape)."""
        return self._turn.engine(self._name).inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output names."""
        return self._turn.engine(self._name).outputs

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run once; see `edgeapl.protocols.Engine.run`."""
        outputs = self._turn.engine(self._name).run(inputs)
        if self._watcher is not None:
            self._watcher(self._name, inputs)
        return outputs

    def close(self) -> None:
        """Close whichever engine is open."""
        self._turn.close()


class InTurn(ClosesItself, Mapping[str, Engine]):
    """A mapping of engines of which one at a time is in memory.

    Unlike a plain mapping it may be kept by who needs several engines, such as a detector.

    Parameters
    ----------
    names : networks. opener : makes one ready to run. watcher : told what each was shown.
    """

    def __init__(
        self, names: tuple[str, ...], opener: Opener, watcher: Watcher | None = None
    ) -> None:
        self._turn = _Turn(opener)
        self._engines = {name: TurnEngine(name, self._turn, watcher) for name in names}

    def __getitem__(self, name: str) -> Engine:
        return self._engines[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._engines)

    def __len__(self) -> int:
        return len(self._engines)

    def close(self) -> None:
        """Close the engine that is open."""
        self._turn.close()

"""An engine that wraps another one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeapl.protocols import Arrays, Engine


class EngineWrapper:
    """Implements Engine by another one; subclasses change what they need.

    Parameters
    ----------
    inner : the wrapped engine, closed with this one.
    """

    def __init__(self, inner: Engine) -> None:
        self._inner = inner

    @property
    def runtime(self) -> str:
        """What runs it."""
        return self._inner.runtime

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of its file."""
        return self._inner.digest

    @property
    def inputs(self) -> Mapping[str, tuple[str, tuple[int | None, ...]]]:
        """Input name to (numpy dtype name, shape)."""
        return self._inner.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output names."""
        return self._inner.outputs

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run once; see `edgeapl.protocols.Engine.run`."""
        return self._inner.run(inputs)

    def close(self) -> None:
        """Close the wrapped engine."""
        self._inner.close()

"""An engine of which one run fails."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.wrapper import EngineWrapper
from edgeapl.errors import EngineError
from edgeapl.protocols import Arrays, Engine


class FailsOnce(EngineWrapper):
    """Answers like another engine; the run of this number, from 1, fails."""

    def __init__(self, inner: Engine, fail_at: int) -> None:
        super().__init__(inner)
        self._left = fail_at

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run, or fail."""
        self._left -= 1
        if self._left == 0:
            raise EngineError("network failed while running", "cells", "test")
        return super().run(inputs)

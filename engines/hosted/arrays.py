"""Arrays in memory that the host and its child share; what goes wrong is an error of an engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import EngineError
from edgeapl.process.memory import ArrayPlace, SharedMemory
from edgeapl.protocols import Arrays


def put_arrays(memory: SharedMemory, arrays: Arrays) -> tuple[ArrayPlace, ...]:
    """Copy arrays into the memory; raises EngineError when there is too little, or for texts."""
    try:
        return memory.put(arrays)
    except MemoryError as error:
        what = "no memory to hand arrays over"
        raise EngineError(what, "network process", f"{error}: use a smaller batch") from error
    except TypeError as error:
        raise EngineError("type is not supported", error, "use numbers") from error


def copy_arrays(
    memory: SharedMemory, places: tuple[ArrayPlace, ...], network: str
) -> dict[str, NDArray[np.generic]]:
    """Copy arrays out of the memory, which the next run writes again; raises EngineError."""
    try:
        return {name: np.array(view) for name, view in memory.take(places).items()}
    except ValueError as error:
        what = "network process does not keep to the rules"
        raise EngineError(what, network, str(error)) from error

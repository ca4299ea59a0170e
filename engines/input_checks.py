"""Check the inputs of a run against what the network takes, with one set of messages."""

from __future__ import annotations

from collections.abc import Mapping

from edgeapl.errors import EngineError
from edgeapl.protocols import Arrays

Described = Mapping[str, tuple[str, tuple[int | None, ...]]]
"""Input name to (numpy dtype name, shape); None is a free dimension."""


class Declared:
    """Base of engines that are made from a file.

    Parameters
    ----------
    name : what error messages call the network.
    digest : SHA-256 (hex) of the file.
    inputs, outputs : as the runtime read them from it.
    """

    def __init__(self, name: str, digest: str, inputs: Described, outputs: tuple[str, ...]) -> None:
        self._name = name
        self._digest = digest
        self._inputs = inputs
        self._outputs = outputs

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the file."""
        return self._digest

    @property
    def inputs(self) -> Described:
        """Input name to (numpy dtype name, shape); None is a free dimension."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output names."""
        return self._outputs


def check_inputs(name: str, expected: Described, inputs: Arrays) -> None:
    """Raise EngineError unless names, dtypes and shapes fit and no array is empty."""
    if set(inputs) != set(expected):
        raise EngineError(
            "network was given the wrong inputs",
            name,
            f"expected {sorted(expected)}, got {sorted(inputs)}",
        )
    for key, (dtype, shape) in expected.items():
        array = inputs[key]
        fits = len(array.shape) == len(shape) and all(
            want is None or want == have for want, have in zip(shape, array.shape, strict=True)
        )
        if array.dtype.name != dtype or not fits or 0 in array.shape:
            raise EngineError(
                "network input does not fit",
                f"{name}.{key}",
                f"expected {dtype} {shape}, got {array.dtype.name} {array.shape}",
            )


def first_line(error: BaseException) -> str:
    """Return the first line of an error of a library, or its class when it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__

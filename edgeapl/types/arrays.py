"""Array types, and the validation of arrays in values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
UInt16 = NDArray[np.uint16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]


def check_array(name: str, value: object, dtype: type, shape: tuple[int | None, ...]) -> None:
    """Raise when an array is not of the dtype and shape a value promises; None is any length."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name}: expected a numpy array, got {type(value).__name__}")
    if value.dtype != np.dtype(dtype):
        raise TypeError(f"{name}: expected dtype {np.dtype(dtype)}, got {value.dtype}")
    fits = len(value.shape) == len(shape) and all(
        want is None or want == have for want, have in zip(shape, value.shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if n is None else n for n in shape)
        raise ValueError(f"{name}: expected shape {wanted}, got {value.shape}")


def read_only(array: NDArray[np.generic]) -> None:
    """Make an array one that cannot be changed, in place."""
    array.flags.writeable = False

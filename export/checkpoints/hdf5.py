"""Reads arrays from an untrusted HDF5 file, bounded and from this file only."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import BundleError, EngineError
from edgeapl.export.checkpoints.file_formats import AGAIN, DAMAGE

MOST_OBJECTS = 20_000
"""Most groups and arrays; Keras' Xception has about 700. Links may form cycles."""

MOST_DEEP = 16
FILTERS = (None, "gzip", "lzf")
"""Compressions built into HDF5; others are plug-ins that it would search for and load."""

CONVERT = "load it in Keras, and save model.save_weights('w.h5') of a model with plain layers"


def hdf5_arrays(path: Path, data: bytes, most: int) -> dict[str, NDArray[Any]]:
    """Return every array of a file by its path, in the file's order.

    Parameters
    ----------
    data : the file. most : numbers that all arrays may have together.

    Raises BundleError for files that are damaged, too large when unpacked, or refer to other files,
    and EngineError when h5py is not installed.
    """
    try:
        import h5py  # noqa: PLC0415 - only users with Keras files need it
    except ModuleNotFoundError as error:
        raise EngineError("Keras files need h5py", path, "pip install h5py") from error
    found: dict[str, NDArray[Any]] = {}
    left = most
    seen = 0
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            waiting: list[tuple[str, Any]] = [("", file)]
            while waiting:
                name, here = waiting.pop()
                seen += 1
                if seen > MOST_OBJECTS or name.count("/") > MOST_DEEP:
                    raise BundleError("HDF5 file has no end", path, CONVERT)
                if isinstance(here, h5py.Group):
                    inside = []
                    for key in here:
                        if not isinstance(here.get(key, getlink=True), h5py.HardLink):
                            raise BundleError("HDF5 file leads to other places", path, CONVERT)
                        inside.append((f"{name}/{key}".strip("/"), here[key]))
                    waiting += reversed(inside)
                elif isinstance(here, h5py.Dataset) and here.dtype.kind in "fiu":
                    if here.external is not None or here.is_virtual:
                        raise BundleError("HDF5 file leads to other files", path, CONVERT)
                    if here.compression not in FILTERS or here.scaleoffset is not None:
                        raise BundleError("HDF5 file is packed in an unusual way", path, CONVERT)
                    left -= int(here.size)
                    if left < 0:
                        raise BundleError("tensors are far larger than their file", path, CONVERT)
                    found[name] = np.asarray(here[()])
    except BundleError:
        raise
    except DAMAGE as error:
        raise BundleError("HDF5 file is cut off or damaged", path, AGAIN) from error
    return found

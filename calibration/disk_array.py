"""Arrays kept on disk, so that a set of any size takes little memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import StorageError


class DiskArray:
    """Rows of one shape and dtype in a file, written once and read in any order.

    Parameters
    ----------
    path : new file; removed together with its folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._row: tuple[np.dtype[np.generic], tuple[int, ...]] | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, rows: NDArray[np.generic]) -> None:
        """Add rows, any dtype, (N, ...). Raises StorageError when the disk is full."""
        row = (rows.dtype, rows.shape[1:])
        if self._row is None:
            self._row = row
        if row != self._row:
            raise ValueError(f"DiskArray: rows are {self._row}, got {row}")
        try:
            with self._path.open("ab") as file:
                file.write(np.ascontiguousarray(rows).tobytes())
        except OSError as error:
            mend = "make room in the folder for temporary files"
            raise StorageError("cells cannot be kept on disk", self._path, mend) from error
        self._count += len(rows)

    @property
    def mapped(self) -> NDArray[np.generic]:
        """All rows, mapped from the file: read as they are used."""
        if self._row is None:
            raise ValueError("DiskArray: nothing was added")
        dtype, shape = self._row
        return np.memmap(self._path, dtype=dtype, mode="r", shape=(self._count, *shape))

    def rows(self, numbers: Sequence[int]) -> NDArray[np.generic]:
        """Read some rows, in the order of `numbers`."""
        return np.array(self.mapped[list(numbers)])

    def batches(
        self, size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[NDArray[np.generic]]:
        """Read the rows from `start` to `stop` in order, at most `size` at a time."""
        stop = self._count if stop is None else min(stop, self._count)
        for first in range(start, stop, size):
            yield self.rows(range(first, min(first + size, stop)))

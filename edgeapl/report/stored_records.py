"""Records of finished slides that stay on disk: one is in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from edgeapl.errors import StorageError
from edgeapl.report.results import finished_record, newest_by_name
from edgeapl.wording.printable import printable

Record = dict[str, Any]


class StoredRecords(Sequence[Record]):
    """The newest records of some slides, each read whenever it is asked for.

    A record has some KiB, its slide's name some bytes: so many slides fit into little memory.

    Parameters
    ----------
    folder : the result folder. slides : their names, in the order of the records.
    newest : of `newest_by_name`; None to list the folder.

    Items are as in `verdict.json`. Reading one raises StorageError when its results have gone or
    are damaged.
    """

    __slots__ = ("_folder", "_newest", "slides")

    def __init__(
        self, folder: Path, slides: Sequence[str], newest: Mapping[str, str] | None = None
    ) -> None:
        self.slides = tuple(slides)
        self._folder = folder
        found = newest_by_name(folder) if newest is None and slides else newest or {}
        # Only the few slides with more than one record need their folder's name.
        self._newest = {first: name for first, name in found.items() if first != name}

    def __len__(self) -> int:
        return len(self.slides)

    @overload
    def __getitem__(self, place: int) -> Record: ...

    @overload
    def __getitem__(self, place: slice) -> StoredRecords: ...

    def __getitem__(self, place: int | slice) -> Record | StoredRecords:
        if isinstance(place, slice):
            return StoredRecords(self._folder, self.slides[place], self._newest)
        slide = self.slides[place]
        record = finished_record(self._folder, slide, self._newest)
        if record is None:
            what = "results of a slide have gone"
            raise StorageError(what, printable(slide), "run the same command again")
        return record

"""One of several parts of a folder's slides, each for a program or a machine of its own."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from edgeapl.errors import UsageError
from edgeapl.report.folder_lock import LockRange
from edgeapl.wording.names import canonical_name

PLACES = 1 << 40
"""Places on a line along which names are strewn; parts are stretches of it of the same length."""

MOST_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class Part:
    """Part `number` of `of`, counted from 1.

    A slide's name alone decides to which it belongs, so that it stays there when others come or go,
    and that machines need not talk. Parts of small folders differ in size.

    Raises UsageError when there is no such part.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of <= MOST_PARTS:
            mend = f"count from 1 to N, and N to {MOST_PARTS}: 1/4, 2/4, 3/4, 4/4"
            raise UsageError("there is no such part", self.text, mend)

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read ``I/N``. Raises UsageError."""
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip(), re.ASCII)
        if found is None:
            raise UsageError("part is not understood", text, "write it as I/N, such as 1/4")
        return cls(int(found[1]), int(found[2]))

    @property
    def text(self) -> str:
        """The part as it is written: ``1/4``."""
        return f"{self.number}/{self.of}"

    @property
    def lock_range(self) -> LockRange:
        """The places that belong to it, to be held in a result folder.

        Parts of another number of parts that have a slide in common overlap.
        """
        start = self._start(self.number - 1)
        return LockRange(start, self._start(self.number) - start)

    def holds(self, slide: str) -> bool:
        """Whether a slide of this name belongs to it."""
        return self._start(self.number - 1) <= _place(slide) < self._start(self.number)

    def _start(self, number: int) -> int:
        return number * PLACES // self.of


def _place(slide: str) -> int:
    name = canonical_name(slide).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(name).digest()[:5], "big")

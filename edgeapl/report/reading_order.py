"""In which order people look at the slides of a folder, without holding their records."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgeapl.wording.names import disambiguated
from edgeapl.wording.verdicts import URGENCY, urgency


@dataclass(frozen=True, slots=True)
class ReadingOrder:
    """Slides by urgency; those of the same urgency keep their order.

    places : numbers of the records, the most urgent first. counts : verdict to the number of
    slides. shown : name of each slide to how it is shown.
    """

    places: tuple[int, ...]
    counts: Mapping[str, int]
    shown: Mapping[str, str]

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> ReadingOrder:
        """Return the order of records, which are looked at one after the other."""
        ranks, names, counts = array("b"), [], Counter[str]()
        for record in records:
            ranks.append(urgency(record))
            names.append(str(record["slide"]))
            counts[str(record["verdict"])] += 1
        places = tuple(sorted(range(len(ranks)), key=ranks.__getitem__))
        return cls(places, counts, disambiguated(names))

    @property
    def verdicts(self) -> list[str]:
        """Verdicts that occur, the most urgent first."""
        return [verdict for verdict in URGENCY if self.counts.get(verdict)]

    def first_of(self, verdict: str) -> int:
        """Return at which place, counted from 0, the slides with a verdict begin."""
        before = URGENCY[: URGENCY.index(verdict)]
        return sum(self.counts.get(one, 0) for one in before)

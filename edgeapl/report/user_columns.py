"""Columns of the user's own list, copied into the tables of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgeapl.report.safe_names import table_text


@dataclass(frozen=True, slots=True)
class FurtherColumns:
    """The further columns of the user's list of images.

    headings : as in the list. values : image to one text per heading.
    """

    headings: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def free_headings(self, taken: Sequence[str]) -> tuple[str, ...]:
        """Return the headings for a table with these columns, renamed where they would collide."""
        used = {name.casefold() for name in taken}
        free = []
        for heading in map(table_text, self.headings):
            name = heading
            while name.casefold() in used:
                name = f"list_{name}"
            used.add(name.casefold())
            free.append(name)
        return tuple(free)

    def cells(self, source: str) -> list[str]:
        """Return the cells of an image's rows, safe for a spreadsheet."""
        texts = self.values.get(source, ("",) * len(self.headings))
        return [table_text(text) for text in texts]

"""What a user chooses of a system: its parts, their size, and which cells they look for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgeapl.errors import UsageError
from edgeapl.wording.printable import printable


@dataclass(frozen=True, slots=True)
class Choices:
    """Choices; what is not chosen is as the recipe has it.

    parts : names of the networks to train; empty for all. size : side of a cell for the network,
    px. hidden : widths of fully connected layers before the last.
    cells : network's question to the folders of a cohort that hold such cells.
    """

    parts: tuple[str, ...] = ()
    size: int | None = None
    hidden: tuple[int, ...] = ()
    cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def check_none(self, recipe: str) -> None:
        """Raise UsageError when something is chosen that a recipe has no choice of."""
        given = {
            "--part": self.parts,
            "--size": self.size,
            "--hidden": self.hidden,
            "--cells": self.cells,
        }
        for option, value in given.items():
            if value:
                mend = "leave it away: it is for recipes that judge single cells"
                raise UsageError(f"{recipe} has no such choice", option, mend)


def read_cells(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read ``question=folder,folder`` texts. Raises UsageError when one is malformed."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        question, _, folders = text.partition("=")
        names = tuple(name.strip() for name in folders.split(",") if name.strip())
        if not question or not names:
            mend = "write QUESTION=FOLDER or QUESTION=FOLDER,FOLDER"
            raise UsageError("malformed --cells", printable(text), mend)
        found[question] = (*found.get(question, ()), *names)
    return found

"""Names and colours of cells, the same in pictures, tables and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.report.context import ReportContext
from edgeapl.types import CellStatus, ExaminedFrame, Float32

Colour = tuple[int, int, int]

# Okabe and Ito 2008, "Color Universal Design": colour-blind readers can tell them apart. Warm ones
# are for cells that suggest APL, cool ones for all others.
WARM: tuple[Colour, ...] = ((213, 94, 0), (230, 159, 0), (204, 121, 167))
COOL: tuple[Colour, ...] = ((0, 114, 178), (0, 158, 115), (86, 180, 233))


@dataclass(frozen=True, slots=True)
class CellKind:
    """The class of a cell as people see it.

    name : in words. colour : RGB. suspicious : suggests APL. scored : has scores.
    role : of the bundle that it is named after; empty for all other classes.
    """

    name: str
    colour: Colour
    suspicious: bool = False
    scored: bool = True
    role: str = ""

    @property
    def table_class(self) -> str:
        """Its name in tables: the role, ``other cell``, or nothing for a cell without scores."""
        return (self.role or self.name) if self.scored else ""


OTHER = CellKind("other cell", (96, 96, 96))
NOT_EXAMINED = CellKind("not examined", (20, 20, 20), scored=False)
FAILED = CellKind("failed", (20, 20, 20), scored=False)
NOT_NEEDED = CellKind("not needed", (20, 20, 20), scored=False)


def in_words(role: str) -> str:
    """Return a role's name in words."""
    return role.replace("_", " ").replace("-", " ").replace("auer ", "Auer ")


def reaches(values: Float32, threshold: float) -> NDArray[np.bool_]:
    """Return which scores make a cell positive, compared in float32 as the reducer does."""
    return np.asarray(values >= np.float32(threshold))


def role_kinds(context: ReportContext) -> dict[str, CellKind]:
    """Return name and colour of every role, in the order of the bundle."""
    warm = cool = 0
    kinds = {}
    for role in context.roles:
        suspicious = role in context.suspicious_roles
        if suspicious:
            colour, warm = WARM[warm % len(WARM)], warm + 1
        else:
            colour, cool = COOL[cool % len(COOL)], cool + 1
        kinds[role] = CellKind(in_words(role), colour, suspicious, role=role)
    return kinds


def cell_kinds(
    examined: ExaminedFrame, context: ReportContext, kinds: Mapping[str, CellKind]
) -> tuple[CellKind, ...]:
    """Return the class of every cell of a frame.

    It is the most probable positive role. Roles that suggest APL come first, so that a suspicious
    cell never appears as anything else.
    """
    best: list[tuple[bool, bool, float, CellKind]] = [(False, False, -1.0, OTHER)] * len(
        examined.ids
    )
    for role, threshold in context.roles.items():
        values = examined.roles[role]
        for row in np.flatnonzero(reaches(values, threshold)).tolist():
            kind = kinds[role]
            claim = (kind.suspicious, role not in context.group_roles, float(values[row]), kind)
            if claim[:3] > best[row][:3]:
                best[row] = claim
    unscored = {
        CellStatus.NOT_EXAMINED: NOT_EXAMINED,
        CellStatus.FAILED: FAILED,
        CellStatus.NOT_NEEDED: NOT_NEEDED,
    }
    return tuple(
        unscored.get(status, claim[3]) for status, claim in zip(examined.status, best, strict=True)
    )

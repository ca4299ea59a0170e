"""The nucleated cells of blood and marrow as a textbook describes them (Bain 2015; WHO 2017).

Lengths are in µm; ranges are sampled uniformly. Colours are amounts of the stains in `stain.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Range = tuple[float, float]
NucleusShape = Literal["round", "oval", "kidney", "bilobed", "band", "segmented", "smudge"]


@dataclass(frozen=True, slots=True)
class CellType:
    """How one kind of cell is drawn.

    diameter : of the cell. nucleus : its diameter as a share of the cell's.
    shape : of the nucleus. eccentric : how far it may be off the centre, as a share of the free
        way.
    chromatin : amount of nuclear stain. clumps : coarseness of the chromatin, 0 fine to 1 coarse.
    nucleoli : number. basophilia, acidophilia : blue and pink of the cytoplasm.
    granules : number. granule : their diameter. granule_stain : which stain.
    auer_rods : number, in a cell that has any. auer_share : share of cells that have any.
    """

    diameter: Range
    nucleus: Range
    shape: NucleusShape
    eccentric: Range
    chromatin: Range
    clumps: Range
    nucleoli: tuple[int, int]
    basophilia: Range
    acidophilia: Range
    granules: tuple[int, int] = (0, 0)
    granule: Range = (0.3, 0.5)
    granule_stain: Literal["azurophil", "eosin", "basophil"] = "azurophil"
    auer_rods: tuple[int, int] = (1, 1)
    auer_share: float = 0.0


CELL_TYPES: dict[str, CellType] = {
    "promyelocyte": CellType(
        (14, 20), (0.55, 0.7), "round", (0.5, 1), (0.75, 1), (0.2, 0.5), (1, 2),
        (0.35, 0.7), (0.05, 0.2), (90, 220), (0.3, 0.55),
    ),
    "apl_hypergranular": CellType(
        (15, 22), (0.5, 0.68), "oval", (0.4, 1), (0.7, 1), (0.2, 0.5), (0, 2),
        (0.2, 0.5), (0.15, 0.4), (200, 420), (0.35, 0.65), "azurophil", (1, 8), 0.35,
    ),
    "apl_microgranular": CellType(
        (14, 20), (0.6, 0.78), "bilobed", (0, 0.5), (0.7, 1), (0.1, 0.4), (0, 1),
        (0.3, 0.6), (0.1, 0.3), (60, 160), (0.25, 0.4), "azurophil", (1, 4), 0.25,
    ),
    "myeloblast": CellType(
        (12, 18), (0.76, 0.9), "round", (0, 0.8), (0.6, 0.85), (0, 0.2), (2, 4),
        (0.35, 0.75), (0, 0.05), (0, 6), (0.25, 0.4), "azurophil", (1, 1), 0.06,
    ),
    "myelocyte": CellType(
        (12, 17), (0.5, 0.62), "round", (0.4, 1), (0.85, 1.1), (0.4, 0.7), (0, 0),
        (0.1, 0.3), (0.15, 0.35), (20, 60), (0.2, 0.35),
    ),
    "metamyelocyte": CellType(
        (11, 15), (0.55, 0.68), "kidney", (0, 0.6), (0.9, 1.15), (0.5, 0.8), (0, 0),
        (0, 0.15), (0.2, 0.4), (10, 40), (0.2, 0.3),
    ),
    "band": CellType(
        (11, 14), (0.6, 0.75), "band", (0, 0.3), (0.95, 1.2), (0.6, 0.9), (0, 0),
        (0, 0.08), (0.2, 0.4), (10, 40), (0.2, 0.3),
    ),
    "neutrophil": CellType(
        (11, 14), (0.65, 0.8), "segmented", (0, 0.3), (1, 1.3), (0.6, 0.9), (0, 0),
        (0, 0.06), (0.2, 0.4), (10, 40), (0.2, 0.3),
    ),
    "eosinophil": CellType(
        (12, 16), (0.55, 0.7), "bilobed", (0.2, 0.8), (0.9, 1.2), (0.6, 0.9), (0, 0),
        (0, 0.05), (0.2, 0.3), (120, 240), (0.6, 0.9), "eosin",
    ),
    "basophil": CellType(
        (11, 14), (0.55, 0.7), "bilobed", (0, 0.5), (0.7, 0.95), (0.4, 0.8), (0, 0),
        (0.05, 0.2), (0.1, 0.2), (35, 80), (0.6, 1.0), "basophil",
    ),
    "lymphocyte": CellType(
        (7, 11), (0.78, 0.93), "round", (0, 0.9), (1, 1.3), (0.6, 1), (0, 0),
        (0.25, 0.55), (0, 0.05),
    ),
    "monocyte": CellType(
        (14, 20), (0.58, 0.75), "kidney", (0, 0.6), (0.6, 0.85), (0.3, 0.6), (0, 0),
        (0.2, 0.4), (0.05, 0.15), (5, 40), (0.2, 0.3),
    ),
    "erythroblast": CellType(
        (8, 13), (0.5, 0.75), "round", (0, 0.6), (1.2, 1.6), (0.7, 1), (0, 0),
        (0.05, 0.5), (0.2, 0.6),
    ),
    "plasma_cell": CellType(
        (12, 19), (0.42, 0.58), "round", (0.8, 1), (1, 1.3), (0.8, 1), (0, 0),
        (0.6, 1.0), (0, 0.1),
    ),
    "smudge": CellType(
        (12, 20), (0.8, 0.95), "smudge", (0, 0.2), (0.4, 0.7), (0.1, 0.4), (0, 0),
        (0, 0.05), (0, 0.05),
    ),
}  # fmt: skip

ROLES: dict[str, frozenset[str]] = {
    "promyelocyte": frozenset({"promyelocyte", "apl_hypergranular", "apl_microgranular"}),
    "myeloblast": frozenset({"myeloblast"}),
}
"""Which drawn cells are positive for a role; Auer rods are known per cell."""

"""Drawn smears with exact ground truth, for the demonstration, training and tests.

Drawn images are for showing and testing software. They say nothing about patients.
"""

from __future__ import annotations

from edgeapl.sources.synthetic.cell_types import CELL_TYPES, CellType
from edgeapl.sources.synthetic.smear import SlideRecipe, SyntheticFrame, draw_frame, slide_recipe

__all__ = [
    "CELL_TYPES",
    "CellType",
    "SlideRecipe",
    "SyntheticFrame",
    "draw_frame",
    "slide_recipe",
]

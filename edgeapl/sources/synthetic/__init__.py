"""Drawn smears with exact ground truth: the demonstration, the training and the tests use them.

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

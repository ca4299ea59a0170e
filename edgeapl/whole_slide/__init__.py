"""Whole-slide scans: finds where on a smear cells can be judged, and reads that tile by tile."""

from __future__ import annotations

from edgeapl.whole_slide.companions import SET, companion_files
from edgeapl.whole_slide.opening import is_whole_slide, open_pyramid
from edgeapl.whole_slide.pyramid import Pyramid
from edgeapl.whole_slide.source import Place, WholeSlideSource

__all__ = [
    "SET",
    "Place",
    "Pyramid",
    "WholeSlideSource",
    "companion_files",
    "is_whole_slide",
    "open_pyramid",
]

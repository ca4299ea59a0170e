"""Segment Anything at the station: prompts, masks, and a segmenter made of them."""

from __future__ import annotations

from edgeapl.stages.sam.segmenter import SamSegmenter

__all__ = ["SamSegmenter"]

"""Faster R-CNN at the station: the steps between its two networks, and a segmenter made of them."""

from __future__ import annotations

from edgeapl.stages.detect.segmenter import FasterRcnnSegmenter

__all__ = ["FasterRcnnSegmenter"]

"""Find the nucleated cells of a frame, and measure its scale."""

from __future__ import annotations

from edgeapl.stages.segment.hsv_watershed import HsvWatershed
from edgeapl.stages.segment.pixel_size import Evidence, ScaleEstimate, measure_scale

__all__ = ["Evidence", "HsvWatershed", "ScaleEstimate", "measure_scale"]

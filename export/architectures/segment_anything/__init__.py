"""Segment Anything (Kirillov et al. 2023) and MobileSAM (Zhang et al. 2023)."""

from __future__ import annotations

from edgeapl.export.architectures.segment_anything.model import (
    DECODER_OUTPUTS,
    PATCH,
    SegmentAnything,
)
from edgeapl.export.architectures.segment_anything.sizes import (
    MOBILE,
    VIT_B,
    VIT_L,
    TinyVitSize,
    VitSize,
    size_of,
)

__all__ = [
    "DECODER_OUTPUTS",
    "MOBILE",
    "PATCH",
    "VIT_B",
    "VIT_L",
    "SegmentAnything",
    "TinyVitSize",
    "VitSize",
    "size_of",
]

"""One slide under examination: from prepared frames to a verdict, without threads."""

from __future__ import annotations

from edgeapl.examination.frame_in_work import FrameInWork
from edgeapl.examination.prepare import (
    PreparedFrame,
    gate_frame,
    no_detections,
    prepare_frame,
    search_frame,
)
from edgeapl.examination.slide import SlideExamination

__all__ = [
    "FrameInWork",
    "PreparedFrame",
    "SlideExamination",
    "gate_frame",
    "no_detections",
    "prepare_frame",
    "search_frame",
]

"""One slide under examination: from prepared frames to a verdict, without threads."""

from __future__ import annotations

from edgeapl.examination.answered_frame import AnsweredFrame, FrameStore
from edgeapl.examination.open_frame import OpenFrame
from edgeapl.examination.preparation import (
    PreparedFrame,
    gate_frame,
    no_detections,
    prepare_frame,
    search_frame,
)
from edgeapl.examination.slide import SlideExamination

__all__ = [
    "AnsweredFrame",
    "FrameStore",
    "OpenFrame",
    "PreparedFrame",
    "SlideExamination",
    "gate_frame",
    "no_detections",
    "prepare_frame",
    "search_frame",
]

"""Examine one slide: the only place with threads, queues and the deadline.

One thread reads, gates, segments and crops (`producer`); the calling thread runs the networks in
full batches that may span frames, adds up the answers and hands on every finished frame
(`examiner`). The queue between them is bounded, so a fast source waits and memory stays flat.
"""

from __future__ import annotations

from edgeapl.pipeline.examiner import examine_slide
from edgeapl.pipeline.options import Budget, Observer, Progress, SlideOptions, SlideOutcome

__all__ = [
    "Budget",
    "Observer",
    "Progress",
    "SlideOptions",
    "SlideOutcome",
    "examine_slide",
]

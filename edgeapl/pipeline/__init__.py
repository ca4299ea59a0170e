"""Examine slides: the only place with threads, queues and the deadline.

One thread reads, gates, segments and crops (`producer`); the calling thread runs the networks in
full batches that may span frames, and slides of a folder, adds up the answers and passes on every
finished frame (`examiner`). The queue between them is bounded, so a fast source waits and memory
stays flat.
"""

from __future__ import annotations

from edgeapl.pipeline.jobs import Barrier, SlideJob
from edgeapl.pipeline.options import Budget, Observer, Progress, SlideOptions, SlideOutcome
from edgeapl.pipeline.slide_pipeline import examine_slide, examine_slides

__all__ = [
    "Barrier",
    "Budget",
    "Observer",
    "Progress",
    "SlideJob",
    "SlideOptions",
    "SlideOutcome",
    "examine_slide",
    "examine_slides",
]

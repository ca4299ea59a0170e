"""What a station has done since it started, for its metrics."""

from __future__ import annotations

from edgeapl.station.snapshot import SlideSnapshot
from edgeapl.types import Decision, Verdict


class StationStatistics:
    """Counts slides, flags, frames and cells, and keeps the slowest commit; not thread-safe.

    slowest_s : longest time from a frame's capture to the commit that includes it, seconds.
    """

    def __init__(self) -> None:
        self.slowest_s = 0.0
        self._counts = {"slides": 0, "flags": 0, "frames": 0, "cells": 0}

    @property
    def counts(self) -> dict[str, float]:
        """Counts by name."""
        return dict(self._counts)

    def add_examined(self, snapshot: SlideSnapshot, slowest_s: float) -> None:
        """Count the frames and cells of a slide, whether or not it could be closed."""
        self.slowest_s = max(self.slowest_s, slowest_s)
        self._counts["frames"] += snapshot.frames
        self._counts["cells"] += snapshot.tally.seen

    def add_closed(self, verdict: Verdict) -> None:
        """Count a slide with a final verdict."""
        self._counts["slides"] += 1
        self._counts["flags"] += verdict.decision is Decision.FLAG

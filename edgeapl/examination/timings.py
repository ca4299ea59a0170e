"""Seconds spent in each stage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

Timings: TypeAlias = Counter[str]
"""Stage name to seconds."""


@contextmanager
def timed(timings: Timings, stage: str) -> Iterator[None]:
    """Add the seconds spent inside to the stage."""
    start = time.perf_counter()
    try:
        yield
    finally:
        add_seconds(timings, stage, time.perf_counter() - start)


def add_seconds(timings: Timings, stage: str, seconds: float) -> None:
    """Add seconds to the stage."""
    timings[stage] += seconds  # type: ignore[assignment]

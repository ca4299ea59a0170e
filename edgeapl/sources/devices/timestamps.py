"""When a picture was taken, and its number, from what a driver reports."""

from __future__ import annotations

from edgeapl.protocols import Clock

DRIFT = 0.0005
"""Largest drift of a camera's clock, seconds per second: crystals are ten times better."""


class CaptureTimes:
    """Turns the age of a picture, by the driver's wall clock, into a monotonic time.

    Wall clocks jump. So a picture is never taken to be older than the last time the driver had none
    waiting, nor newer than now.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._none_waiting_ns = clock.monotonic_ns()
        self._last_ns = self._none_waiting_ns

    def none_waiting(self) -> None:
        """Note that the driver has no picture waiting now."""
        self._none_waiting_ns = self._clock.monotonic_ns()

    def captured_ns(self, age_ns: int | None) -> int:
        """Return the monotonic time of a picture of this age; None if the driver reported none."""
        now = self._clock.monotonic_ns()
        earliest = max(self._none_waiting_ns, self._last_ns)
        self._last_ns = min(max(now - (age_ns or 0), earliest), now)
        return self._last_ns


class PresentationTimes:
    """Measures how late the pictures of a stream are compared with the fastest one so far.

    A camera timestamps pictures by its own clock, whose zero is unknown. The smallest difference
    between arrival and timestamp counts as no delay, and may grow as clocks drift.
    """

    def __init__(self) -> None:
        self._best: tuple[int, int] | None = None

    def late_ns(self, stamp_ns: int, arrived_ns: int) -> int:
        """Return how much later than the fastest picture this one arrived, ns, 0 or more."""
        offset = arrived_ns - stamp_ns
        if self._best is None:
            quickest = offset
        else:
            best, seen_ns = self._best
            quickest = min(best + int((arrived_ns - seen_ns) * DRIFT), offset)
        self._best = (quickest, arrived_ns)
        return offset - quickest


class FrameNumbers:
    """Indices of pictures, with gaps where a driver's own numbers show that some were lost.

    Parameters
    ----------
    wraps_at : largest number before the driver starts again from 1; None for never.
    """

    def __init__(self, wraps_at: int | None = None) -> None:
        self._wraps_at = wraps_at
        self._number: int | None = None
        self._index = -1

    def index_of(self, number: int | None) -> int:
        """Return the index, from 0, of the picture that the driver gave this number.

        Without a number, or if the driver restarted its count, it is the next index.
        """
        step = 1
        if number is not None and self._number is not None:
            step = number - self._number
            if step < 0 and self._wraps_at is not None:
                step += self._wraps_at
                # A jump of more than half the range is a new count, not a loss.
                step = step if step < self._wraps_at // 2 else 1
        self._number = number
        self._index += max(step, 1)
        return self._index

    def skip(self) -> None:
        """Skip one index, for an unusable picture without a number."""
        self._index += 1

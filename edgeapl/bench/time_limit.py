"""How long a bench may take, and who is told how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edgeapl.bench.sources import Now
from edgeapl.wording.numbers import plural

FLOOR_S = 180.0
"""For the bare networks and the machine's peak, as long as a run of a network takes no longer than
a few seconds."""

BUSY_S = 120.0
"""For the runs beside busy programs."""

WARM_UP = 0.5
"""Of the time for the frames that count, for those before."""

SAY_S = 5.0
"""Between two lines of progress."""


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """Ends a part of a bench; each step that has begun is finished.

    end_ns : monotonic; None for never.
    """

    end_ns: int | None = None
    now: Now = time.monotonic_ns

    @classmethod
    def of(cls, seconds: float, now: Now = time.monotonic_ns) -> TimeLimit:
        """Return a limit so many seconds from now on."""
        return cls(now() + int(seconds * 1e9), now)

    def part(self, share: float) -> TimeLimit:
        """Return a limit within this one, after a share (0 to 1) of the time that is left."""
        return self if self.end_ns is None else TimeLimit.of(share * self.left_s, self.now)

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.end_ns is not None and self.now() >= self.end_ns

    @property
    def left_s(self) -> float:
        """Seconds until then; infinite without an end."""
        return float("inf") if self.end_ns is None else max(0, self.end_ns - self.now()) / 1e9


NO_LIMIT = TimeLimit()


@dataclass(frozen=True, slots=True)
class Shares:
    """Seconds for the parts of a bench: frames of all candidates, with what comes before them."""

    warm_up: float
    frames: float
    floor: float = 0.0
    busy: float = 0.0

    @classmethod
    def of(
        cls, duration_s: float, candidates: int, *, floor: bool, busy: bool, most_s: float | None
    ) -> Shares:
        """Share the time out; most_s : for everything, or None for what the parts take by default.

        Parts that take less leave the rest unused.
        """
        frames = duration_s * candidates
        wanted = cls(WARM_UP * frames, frames, FLOOR_S if floor else 0.0, BUSY_S if busy else 0.0)
        scale = 1.0 if most_s is None else min(1.0, most_s / wanted.total)
        return cls(
            *(scale * one for one in (wanted.warm_up, wanted.frames, wanted.floor, wanted.busy))
        )

    @property
    def total(self) -> float:
        """All of it."""
        return self.warm_up + self.frames + self.floor + self.busy

    @property
    def text(self) -> str:
        """The shares for people."""
        parts = [f"frames {self.warm_up + self.frames:.0f} s"]
        parts += [f"floor {self.floor:.0f} s"] if self.floor else []
        parts += [f"busy programs {self.busy:.0f} s"] if self.busy else []
        return f"takes at most about {self.total:.0f} s, and a step longer: {', '.join(parts)}"


@dataclass(slots=True)
class FrameCount:
    """Says from time to time how many frames are done."""

    say: Callable[[str], None]
    wanted: int
    now: Now = time.monotonic_ns
    every_s: float = SAY_S
    frames: int = 0
    _told_ns: int | None = field(default=None)

    def add(self) -> None:
        """Take a frame that is done."""
        self.frames += 1
        now = self.now()
        if self._told_ns is None:
            self._told_ns = now
        elif now - self._told_ns >= self.every_s * 1e9:
            self._told_ns = now
            self.say(f"{plural(self.frames, 'frame')} of at most {self.wanted}")

"""How long the stages of a build take, for the record and for the next build."""

from __future__ import annotations

import time
from collections.abc import Callable

Say = Callable[[str], None]


class Stopwatch:
    """Forwards every stage, and measures its seconds.

    Parameters
    ----------
    say : called with each stage. now : returns monotonic seconds.
    """

    def __init__(self, say: Say, now: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._now = now
        self._stage: tuple[str, float] | None = None
        self._seconds: dict[str, float] = {}

    def __call__(self, text: str) -> None:
        """Begin a stage; text after a second colon is progress, not a stage of its own."""
        name = stage_of(text)
        if self._stage is None or self._stage[0] != name:
            self._begin(name)
        self._say(text)

    def seconds(self) -> dict[str, float]:
        """Map each stage to its seconds, including the current one."""
        if self._stage is not None:
            self._begin(self._stage[0])
        return dict(self._seconds)

    def _begin(self, name: str) -> None:
        """Add the current stage's time, and start the next."""
        now = self._now()
        if self._stage is not None:
            before, start = self._stage
            self._seconds[before] = self._seconds.get(before, 0.0) + now - start
        self._stage = (name, now)


def stage_of(text: str) -> str:
    """Return the stage without its progress: ``build plan of x: kernels 3 of 9`` is one stage."""
    return text.partition(": ")[0] if text.startswith("build plan") else text

"""When a slide with more frames than are needed is examined far enough."""

from __future__ import annotations


class Looks:
    """The few moments at which the rule of a slide is tested, by its scored cells.

    Each test is another chance to end on an accident, so after the first each one takes twice as
    many cells.

    Parameters
    ----------
    first : scored cells at the first one.
    """

    def __init__(self, first: int) -> None:
        self._next = first

    def is_due(self, scored: int) -> bool:
        """Whether to test now; the next test then takes twice as many cells."""
        if scored < self._next:
            return False
        while self._next <= scored:
            self._next *= 2
        return True

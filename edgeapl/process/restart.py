"""How often a child may die before it is not started again at once."""

from __future__ import annotations

from collections import deque


class RestartBudget:
    """A number of restarts within a time; a child that always dies must not heat the machine.

    Parameters
    ----------
    restarts : so many are allowed within `within_s` seconds, as in Frigate's watchdog.
    """

    def __init__(self, restarts: int = 4, within_s: float = 60.0) -> None:
        self.restarts = restarts
        self.within_s = within_s
        self._deaths_s: deque[float] = deque()

    def allows_restart(self, died_s: float) -> bool:
        """Note a death, at this monotonic time in seconds; False when it was one too many."""
        self._deaths_s.append(died_s)
        while died_s - self._deaths_s[0] > self.within_s:
            self._deaths_s.popleft()
        return len(self._deaths_s) <= self.restarts

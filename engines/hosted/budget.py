"""How often the child may die before it is left down."""

from __future__ import annotations

from collections import deque


class RestartBudget:
    """So many deaths within so long; a network that always crashes must not heat the station.

    Parameters
    ----------
    deaths : with this many it stays down. within_s : seconds. Both as Frigate's watchdog has them.
    """

    def __init__(self, deaths: int = 5, within_s: float = 60.0) -> None:
        self.deaths = deaths
        self.within_s = within_s
        self._times: deque[int] = deque(maxlen=deaths)

    def restart_after_death(self, now_ns: int) -> bool:
        """Note a death at this monotonic time; True when it may be started again."""
        self._times.append(now_ns)
        used_up = len(self._times) == self.deaths
        return not (used_up and now_ns - self._times[0] <= self.within_s * 1e9)

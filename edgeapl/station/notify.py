"""Tell systemd how the station is (sd_notify(3)): a datagram to the socket it names."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

BEATS = 3
"""Signs of life in each of systemd's watchdog periods; two may be lost."""


class Supervisor:
    """Speaks to systemd when it started the station; else says nothing.

    Parameters
    ----------
    environment : with ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC``; by default this process's own.
    now : monotonic seconds; tests give their own.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        environment = os.environ if environment is None else environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        period = environment.get("WATCHDOG_USEC", "")
        self._every_s = int(period) / 1e6 / BEATS if period.isdigit() else None
        self._now = now
        self._last_s = float("-inf")

    def ready(self) -> None:
        """Say that the station has started."""
        self._tell("READY=1")

    def alive(self, status: str) -> None:
        """Say that it is at work, and how; as often as the watchdog asks for."""
        if self._every_s is None or self._now() - self._last_s < self._every_s:
            return
        self._last_s = self._now()
        self._tell(f"WATCHDOG=1\nSTATUS={' '.join(status.split())}")

    def stopping(self) -> None:
        """Say that it is about to end."""
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        # A name that starts with @ is in Linux's abstract space, written with a zero.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(text.encode(), address)

"""Tells systemd the state of the station (sd_notify(3)): datagrams to the socket that it names."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

BEATS = 3
"""Keep-alives in each of systemd's watchdog periods; two may be lost."""


class SystemdNotifier:
    """Notifies systemd when systemd started the station; otherwise does nothing.

    Parameters
    ----------
    environment : with ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC``; by default this process's own.
    now : monotonic seconds; tests pass their own.
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
        """Report that the station has started."""
        self._send("READY=1")

    def alive(self, status: str) -> None:
        """Send a keep-alive with a status line, as often as the watchdog asks for it."""
        if self._every_s is None or self._now() - self._last_s < self._every_s:
            return
        self._last_s = self._now()
        self._send(f"WATCHDOG=1\nSTATUS={' '.join(status.split())}")

    def stopping(self) -> None:
        """Report that the station is about to end."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # @ stands for Linux's abstract namespace, which is written with a zero byte.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(text.encode(), address)

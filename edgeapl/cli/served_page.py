"""The page of a station that runs at the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.station.station import Station
    from edgeapl.web.authorisation import PageAccess


@dataclass(frozen=True, slots=True)
class PageAddress:
    """Where the page is served. token : opens it; None for nobody but this machine."""

    host: str
    port: int
    token: str | None


class ServedPage:
    """The page on its port, which stays the same when the station opens again."""

    def __init__(self, address: PageAddress) -> None:
        self._host = address.host
        self._port = address.port
        self._token = address.token
        self._access: PageAccess | None = None

    @contextmanager
    def served(self, station: Station, terminal: Console) -> Iterator[None]:
        """Serve the page of a station meanwhile."""
        from edgeapl.errors import ConfigError
        from edgeapl.station.service import StationService

        try:
            from edgeapl.web.authorisation import PageAccess
            from edgeapl.web.server import PageServer
        except ModuleNotFoundError as error:
            mend = "pip install 'edgeapl[page]'"
            raise ConfigError("the page needs more packages", error.name or "", mend) from error
        if self._access is None:
            self._access = PageAccess(token=self._token)
        server = PageServer(StationService(station), self._access)
        address = server.start(self._host, self._port)
        self._port = urlsplit(address).port or self._port
        # Without the token: what is printed ends in logs. The page asks for it.
        asks = "" if self._token is None else " (asks for the token)"
        terminal.print(f"page: {address}{asks}", markup=False, soft_wrap=True)
        try:
            yield
        finally:
            server.stop()

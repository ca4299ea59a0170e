"""Serves the page from a thread of the station's process."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import threading
import time

import uvicorn

from edgeapl.errors import ConfigError
from edgeapl.station.access import StationAccess
from edgeapl.web.app import create_app
from edgeapl.web.authorisation import PageAccess
from edgeapl.web.connection import limited_connections, sweep_connections
from edgeapl.web.connection_limit import ConnectionLimiter, ConnectionLimits
from edgeapl.web.descriptors import descriptors_for_page
from edgeapl.web.events import Feed
from edgeapl.web.rate_limit import RateLimiter, RateLimitMiddleware
from edgeapl.wording.printable import printable

START_S = 10.0
MOST_PORT = 65535
BACKLOG = 64
"""Connections accepted in one iteration of the loop, before the limiter counts them."""
STOP_S = 3.0
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - refused without a token


class PageServer:
    """The page on a port.

    Parameters
    ----------
    station : what is shown.
    access : who may use it.
    """

    def __init__(self, station: StationAccess, access: PageAccess) -> None:
        self._station = station
        self._access = access
        self._running: tuple[uvicorn.Server, threading.Thread, Feed] | None = None

    def start(self, host: str, port: int) -> str:
        """Serve until `stop` and return the address; the page asks for the token.

        Parameters
        ----------
        host : address to bind; one that is not the loopback needs a token.
        port : 0 takes any free one.

        Raises ConfigError when the port is taken, the address is not this machine's, or others
        could reach it without a token.
        """
        assert self._running is None, "start was called twice"
        if not _is_loopback(host) and self._access.token is None:
            raise ConfigError(
                "page would be open to everyone", f"{printable(host)}:{port}", "give a token"
            )
        bound = _bound(host, port)
        family, number = bound.family, bound.getsockname()[1]
        name = f"[{host}]" if family == socket.AF_INET6 else host
        access = self._access.reached_as(socket.gethostname() if host in WILDCARDS else name)
        app = create_app(self._station, access)
        limits = ConnectionLimits()
        descriptors = descriptors_for_page(limits.total + BACKLOG) - BACKLOG
        limiter = ConnectionLimiter(limits.within(descriptors))
        config = uvicorn.Config(
            RateLimitMiddleware(app, RateLimiter()),
            http=limited_connections(limiter),
            backlog=BACKLOG,
            log_config=None,
            # Malformed requests must not fill the log.
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=5,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=_serve, args=(server, bound, limiter), name="page-server", daemon=True
        )
        thread.start()
        self._running = (server, thread, app.state.page.feed)
        _wait_until_started(server, thread)
        shown = _shown_host(host, name, access)
        return f"http://{shown}:{number}/"

    def stop(self) -> None:
        """Stop serving; open streams end. A second call does nothing."""
        if self._running is None:
            return
        server, thread, feed = self._running
        self._running = None
        feed.stop()
        server.should_exit = True
        thread.join(STOP_S)


def _serve(server: uvicorn.Server, bound: socket.socket, limiter: ConnectionLimiter) -> None:
    async def serve() -> None:
        sweeping = asyncio.create_task(sweep_connections(limiter))
        await server.serve(sockets=[bound])
        sweeping.cancel()
        # Connections that a slow client or a hanging station keeps open beyond the timeout.
        for connection in list(server.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0.01)

    asyncio.run(serve())


def _shown_host(host: str, name: str, access: PageAccess) -> str:
    """Return the host to print; no browser can open a wildcard address."""
    if host not in WILDCARDS:
        return name
    return access.hosts[0]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bound(host: str, port: int) -> socket.socket:
    """Bind before anything is started, so that errors are known at once."""
    where = f"{printable(host)}:{port}"
    if not 0 <= port <= MOST_PORT:  # getaddrinfo would silently use another one
        raise ConfigError("page cannot be served there", where, f"ports go from 0 to {MOST_PORT}")
    bound: socket.socket | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(found[0], found[1], found[2])
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(found[4])
        bound.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        if bound is not None:
            bound.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ConfigError("port is taken", where, "give another one, or 0 for any") from error
        raise ConfigError("page cannot be served there", where, str(error)) from error
    return bound


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    limit = time.monotonic() + START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > limit:
            raise ConfigError("page did not start", "", "report this as a fault")
        time.sleep(0.01)

"""Clients that try to use the page up: each opens connections and keeps as many as it can."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Address = tuple[str, int]
Kind = Callable[[Address], bytes]


def _head(address: Address, line: str, *more: str) -> bytes:
    host = f"{address[0]}:{address[1]}"
    lines = (f"{line} HTTP/1.1", f"Host: {host}", f"Origin: http://{host}", *more)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def half_head(address: Address) -> bytes:
    """Headers that never end."""
    return _head(address, "GET /", "X-Slow: ")[:-6]


def half_body(address: Address) -> bytes:
    """A body that never comes."""
    form = "Content-Type: application/x-www-form-urlencoded"
    return _head(address, "POST /slide/close", form, "Content-Length: 100")


def nothing(_: Address) -> bytes:
    """A connection alone."""
    return b""


def silent_reader(address: Address) -> bytes:
    """Many answers asked for at once, and none taken."""
    return 30 * _head(address, "GET /static/htmx-2.0.11.min.js")


def listener(address: Address) -> bytes:
    """One more browser, which takes what it gets."""
    return _head(address, "GET /events")


def idle(address: Address) -> bytes:
    """Asks once, and then keeps the connection."""
    return _head(address, "GET /static/icon.svg")


def huge_head(address: Address) -> bytes:
    """More headers than anybody needs."""
    return _head(address, "GET /", *(f"X-{n}: {'x' * 2000}" for n in range(100)))[:-2]


def websocket(address: Address) -> bytes:
    """A protocol that the page does not speak, then garbage."""
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    return _head(address, "GET /events", *upgrade, key) + b"\x81\xff\x00\xff" * 50


READING = (listener, idle)


class Attack(threading.Thread):
    """Keeps so many connections of a kind open: what the page closes is opened again."""

    def __init__(self, address: Address, kind: Kind, count: int) -> None:
        super().__init__(name=kind.__name__, daemon=True)
        self._address, self._kind, self._count = address, kind, count
        self._open: list[socket.socket] = []
        self.stopped = threading.Event()
        self.full = threading.Event()
        """Set once all were tried."""

    def run(self) -> None:
        while not self.stopped.is_set():
            self._open = [one for one in self._open if self._lives(one)]
            for _ in range(self._count - len(self._open)):
                if self.stopped.is_set():
                    break
                self._add()
            self.full.set()
            self.stopped.wait(0.2)
        for one in self._open:
            one.close()

    def _add(self) -> None:
        made = socket.socket()
        made.settimeout(1)
        try:
            if self._kind not in READING:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.connect(self._address)
            made.setblocking(False)
            with suppress(BlockingIOError):
                made.send(self._kind(self._address))
        except OSError:
            made.close()
        else:
            self._open.append(made)

    def _lives(self, one: socket.socket) -> bool:
        try:
            if self._kind is half_body:
                one.send(b"x")
            reading = self._kind in READING
            seen = one.recv(1 << 20 if reading else 1, 0 if reading else socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            seen = b""
        if not seen:
            one.close()
        return bool(seen)


@contextmanager
def attacking(address: Address, counts: dict[Kind, int]) -> Iterator[None]:
    """Attack while inside; entered once every kind has opened what it could."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = sum(counts.values()) + 200
    if soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(need, hard), hard))
    attacks = [Attack(address, kind, count) for kind, count in counts.items()]
    for attack in attacks:
        attack.start()
    try:
        for attack in attacks:
            assert attack.full.wait(60), attack.name
        yield
    finally:
        for attack in attacks:
            attack.stopped.set()
        for attack in attacks:
            attack.join()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

"""A network that loses every n-th packet of an RTSP stream on its way from the camera."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_VIDEO = 0x24, 0  # "$" and the channel: how RTSP packs packets into TCP (RFC 2326, 10.12)


@contextmanager
def lossy(url: str, lose_every: int) -> Iterator[str]:
    """Give the address of the same stream behind a bad network, for one client."""
    parts = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as server:
        camera = (str(parts.hostname), int(parts.port or 554))
        threading.Thread(target=_serve, args=(server, camera, lose_every), daemon=True).start()
        yield f"rtsp://127.0.0.1:{server.getsockname()[1]}{parts.path}"


def _serve(server: socket.socket, camera: tuple[str, int], lose_every: int) -> None:
    with (
        contextlib.suppress(OSError),
        server.accept()[0] as client,
        socket.create_connection(camera) as upstream,
    ):
        threading.Thread(target=_copy, args=(client, upstream), daemon=True).start()
        _lose(upstream, client, lose_every)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


def _lose(source: socket.socket, target: socket.socket, lose_every: int) -> None:
    kept, count = b"", 0
    while data := source.recv(65536):
        kept += data
        out = b""
        while kept:
            if kept[0] != _VIDEO[0]:
                # An answer in text: it ends where the next packet begins.
                end = kept.find(bytes(_VIDEO[:1]))
                end = len(kept) if end < 0 else end
                out, kept = out + kept[:end], kept[end:]
                continue
            if len(kept) < 4 or len(kept) < 4 + struct.unpack(">H", kept[2:4])[0]:
                break
            size = 4 + struct.unpack(">H", kept[2:4])[0]
            count += kept[1] == _VIDEO[1]
            if kept[1] != _VIDEO[1] or count % lose_every:
                out += kept[:size]
            kept = kept[size:]
        target.sendall(out)

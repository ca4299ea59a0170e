"""Captures what a C decoder writes to the terminal.

libjpeg, libpng and OpenCV report damage as text on file descriptor 2 and continue with a wrong
picture. No call returns these messages, so the descriptor is redirected to memory while a picture
is decoded. What other threads write in those milliseconds is forwarded to the terminal afterwards.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STDERR = 2

_LOCK = threading.Lock()

_DECODER = re.compile(
    rb"(?:Corrupt JPEG data|Premature end of JPEG|Unsupported marker type|Inconsistent progression"
    rb"|Invalid SOS parameters|Unknown Adobe color|Warning: unknown JFIF|libpng (?:error|warning)"
    rb"|OpenCV TIFF|\[ ?(?:WARN|ERROR|INFO|FATAL|DEBUG):\d+@|\[[\w,. -]+ @ 0x[0-9a-f]+\])"
)
# FFmpeg names the component that complains; OpenCV lets it print errors only.
_DAMAGE = re.compile(
    rb"((?:Corrupt JPEG data|Premature end of JPEG|Unsupported marker type"
    rb"|Inconsistent progression|libpng error)[^\n]*)|\[[\w,. -]+ @ 0x[0-9a-f]+\] ([^\n]*)"
)


class DecoderMessages:
    """The captured messages, once the `with` block has ended."""

    def __init__(self) -> None:
        self.damage = ""
        """The first message that means a wrong picture; empty if there is none."""


@contextmanager
def captured_messages() -> Iterator[DecoderMessages]:
    """Capture decoders' messages in a `with` block; one block at a time in the process."""
    words = DecoderMessages()
    with _LOCK:
        terminal = _duplicate()
        catcher = _memory()
        os.dup2(catcher, STDERR)
        try:
            yield words
        finally:
            _restore(terminal)
            text = _content(catcher)
            os.close(catcher)
            words.damage = _first_damage(text)
            if others := _of_others(text):
                with suppress(OSError):  # the terminal may be closed
                    os.write(STDERR, others)


def _duplicate() -> int | None:
    try:
        return os.dup(STDERR)
    except OSError:
        return None  # a service may run with descriptor 2 closed


def _restore(terminal: int | None) -> None:
    if terminal is None:
        os.close(STDERR)
        return
    os.dup2(terminal, STDERR)
    os.close(terminal)


def _memory() -> int:
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("edgeapl-decoder")
    else:
        handle, path = tempfile.mkstemp()
        os.unlink(path)  # noqa: PTH108
    # If descriptor 2 was closed, the new one is 2 itself, which is about to be replaced.
    return os.dup(handle) if handle == STDERR else handle


def _content(handle: int) -> bytes:
    size = os.lseek(handle, 0, os.SEEK_END)
    os.lseek(handle, 0, os.SEEK_SET)
    return os.read(handle, min(size, 1 << 20))


def _first_damage(text: bytes) -> str:
    found = _DAMAGE.search(text)
    complaint = (found[1] or found[2]) if found else b""
    return complaint.decode("ascii", "backslashreplace").strip()


def _of_others(text: bytes) -> bytes:
    """Return the text without decoders' lines and OpenCV's ``>`` and empty lines after them."""
    if not _DECODER.search(text):
        return text
    lines = text.splitlines(keepends=True)
    others = [line for line in lines if line.strip() and not _DECODER.search(line)]
    return b"".join(line for line in others if not line.startswith(b"> "))

"""A child process of the tests: echoes, or writes what no child should."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeapl.capture.messages import REPLIES, Picture
from edgeapl.errors import StorageError
from edgeapl.process.memory import ArrayPlace
from edgeapl.process.messages import MOST_MESSAGE_BYTES, VERSION_LINE, Codec
from edgeapl.process.parent import Parent


@dataclass(frozen=True, slots=True)
class Word:
    """To be said back."""

    text: str
    kind: Literal["word"] = "word"


@dataclass(frozen=True, slots=True)
class Number:
    """To be said back."""

    value: int
    kind: Literal["number"] = "number"


WORDS: Codec[Word | Number] = Codec(Word | Number)

WRITES = {
    "not JSON": b"hello\n",
    "another message": b'[{"kind":"letter","text":"x"}]\n',
    "a field too many": b'[{"kind":"word","text":"x","more":1}]\n',
    "a field of another type": b'[{"kind":"number","value":"1"}]\n',
    "half a message, then a whole one": b'[{"kind":"wo[{"kind":"word","text":"x"}]\n',
    "a line without an end": b"x" * (MOST_MESSAGE_BYTES + 2),
}
"""What breaks the rules, after a right first line."""

PICTURES = {
    "a slot that is not there": (7, "uint8", (2, 2, 3), 0),
    "a place outside the memory": (0, "uint8", (10_000, 10_000, 3), 0),
    "an offset before the memory": (0, "uint8", (2, 2, 3), -64),
    "a grey picture": (0, "uint8", (2, 2), 0),
    "a deep picture": (0, "float32", (2, 2, 3), 0),
}
"""Slot, type, shape and offset of what is no picture of a camera."""

WRITES |= {
    name: REPLIES.encode(
        Picture(slot, ArrayPlace("pixels", dtype, shape, offset), 0, 0, "x", "x", None)
    )
    for name, (slot, dtype, shape, offset) in PICTURES.items()
}

FIRST = {"another version": b"edgeapl 0.0.9\n", "no version": b"\n", "a warning": b"Warning: x\n"}
"""In place of the first line."""

HOW = "EDGEAPL_TEST_CHILD"

TORN = b'[{"kind":"word","te'


def main() -> None:
    """Do what the environment variable `HOW` says, or else the third argument."""
    requests, replies, how = sys.argv[1:4]
    how = os.environ.get(HOW, how)
    if how in WRITES or how in FIRST:
        _write(int(replies), FIRST.get(how, VERSION_LINE) + WRITES.get(how, b""))
        time.sleep(60)
    parent: Parent[Word | Number, Word | Number] = Parent(int(requests), int(replies), WORDS, WORDS)
    if how == "torn":
        _write(int(replies), TORN)
        os.abort()
    if how == "prints":
        for number in range(100_000):
            print("a warning of a driver that prints one for every picture", number)
        print("last words", flush=True)
        parent.send(Word("printed"))
    parent.listen(parent.send)
    time.sleep(60)


def stop(mark: Path) -> None:
    """Stop this process, as a driver that hangs in the kernel does, and say which it is."""
    mark.write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGSTOP)


def refuse(what: str) -> None:
    """Raise an error of ours."""
    raise StorageError(what, "x", "y")


def fail() -> None:
    """Raise an error of the system."""
    raise OSError("full")


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]

"""Power cuts, replayed from a trace of what a program wrote.

A disk may keep any part of what was written to a file since its last flush, in any order, whole or
torn; it keeps all that was flushed before. A new file keeps its name once its folder was flushed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR_BYTES = 512

CALL = re.compile(r"^(\w+)\((\d+)<([^>]*)>(?:, (.*))?\) += (\d+)")
OPEN = re.compile(r"^openat\(.*O_CREAT.*\) = \d+<([^>]*)>")
UNLINK = re.compile(r'^unlink\("([^"]*)"\) += 0')
BYTES = re.compile(r"\\x([0-9a-f]{2})")

TRACED = "trace=openat,unlink,pwrite64,write,fdatasync,fsync,ftruncate,fallocate"


@dataclass(slots=True)
class Event:
    """One call: its name, the file, and data and offset if it wrote some."""

    call: str
    path: str
    data: bytes = b""
    offset: int = 0


@dataclass(slots=True)
class _File:
    name_kept: bool = False
    flushed: bytes = b""
    size: int = 0
    pending: list[Event] = field(default_factory=list)


def read_trace(log: str, folder: Path) -> Iterator[Event]:
    """Give what happened in a folder, and every line written to stdout as call ``print``."""
    ends: dict[str, int] = {}
    for line in log.splitlines():
        if opened := OPEN.match(line):
            path = _plain(opened[1])
            if Path(path).parent == folder:
                yield Event("create", path)
                ends[path] = 0
            continue
        if unlinked := UNLINK.match(line):
            yield Event("unlink", _plain(unlinked[1]))
            continue
        match = CALL.match(line)
        if match is None:
            continue
        call, number, path, rest = match[1], match[2], _plain(match[3]), match[4] or ""
        if call == "write" and number == "1":
            yield Event("print", "", bytes.fromhex("".join(BYTES.findall(rest))))
        elif Path(path) == folder and call in {"fsync", "fdatasync"}:
            yield Event("flush names", path)
        elif Path(path).parent == folder:
            yield _on_file(call, path, rest, int(match[5]))


def _on_file(call: str, path: str, rest: str, result: int) -> Event:
    if call in {"fsync", "fdatasync"}:
        return Event("flush", path)
    if call == "ftruncate":
        return Event("truncate", path, offset=int(rest))
    if call == "fallocate":
        _, start, size = rest.split(", ")
        return Event("write", path, bytes(int(size)), int(start))
    data = bytes.fromhex("".join(BYTES.findall(rest)))[:result]
    # A plain write is one line of the anchor, whose place follows from what it says.
    offset = int(rest.rpartition(", ")[2]) if call == "pwrite64" else int(data[:12]) * len(data)
    return Event("write", path, data, offset)


def cut(events: list[Event], at: int, chance: random.Random) -> tuple[dict[str, bytes], list[str]]:
    """Cut the power before event `at`: give what the disk holds, and what was printed before."""
    files: dict[str, _File] = {}
    removed: dict[str, _File] = {}
    printed = b""
    for event in events[:at]:
        if event.call == "print":
            printed += event.data
        elif event.call == "flush names":
            removed.clear()
            for file in files.values():
                file.name_kept = True
        elif event.call == "unlink":
            if event.path in files:
                removed[event.path] = files.pop(event.path)
        elif event.call == "create":
            files.setdefault(event.path, _File())
        elif event.call == "flush":
            file = files[event.path]
            file.flushed = _apply(file.flushed, file.pending)
            file.pending.clear()
        else:
            files[event.path].pending.append(event)
    disk = {}
    for path, file in [*removed.items(), *files.items()]:
        stays = file.name_kept and path in files
        if stays or chance.random() < 0.5:
            disk[path] = _apply(file.flushed, _survivors(file.pending, chance))
    return disk, printed.decode("ascii").splitlines()


def _survivors(pending: list[Event], chance: random.Random) -> Iterator[Event]:
    share = chance.choice((0.0, 0.5, 0.9, 1.0))
    for event in pending:
        if chance.random() >= share:
            continue
        data = event.data
        if len(data) > SECTOR_BYTES and chance.random() < 0.2:
            data = data[: chance.randrange(1, len(data) // SECTOR_BYTES + 1) * SECTOR_BYTES]
        yield Event(event.call, event.path, data, event.offset)


def _apply(content: bytes, events: list[Event] | Iterator[Event]) -> bytes:
    now = bytearray(content)
    for event in events:
        end = event.offset + len(event.data)
        if event.call == "truncate":
            end = event.offset
            del now[end:]
        if len(now) < end:
            now.extend(bytes(end - len(now)))
        now[event.offset : event.offset + len(event.data)] = event.data
    return bytes(now)


def _plain(text: str) -> str:
    if "\\x" not in text:
        return text
    return bytes.fromhex("".join(BYTES.findall(text))).decode()

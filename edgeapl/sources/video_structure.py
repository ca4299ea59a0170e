"""Counts the frames that a video container really holds, and checks whether the file is complete.

The length that a container states is an estimate: sound may last longer than the picture, frames
may come at any time, and a browser writes no length at all. So blocks of the picture's track are
counted where the structure allows it, and every part must end inside the file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST_PARTS = 5_000_000
"""Parts examined at most: a day of picture and sound has about as many."""


@dataclass(frozen=True, slots=True)
class VideoStructure:
    """frames : that a player must show; None if they cannot be counted. cut : truncated."""

    frames: int | None = None
    cut: bool = False


class _CutError(ValueError):
    """A part ends beyond the end of the file."""


@dataclass(slots=True)
class _Reader:
    """A file, its size, and how many more parts may be examined."""

    file: BinaryIO
    size: int
    left: int = MOST_PARTS

    def bytes_at(self, at: int, count: int) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ValueError("too many parts")
        self.file.seek(at)
        data = self.file.read(count)
        if len(data) < count:
            raise _CutError
        return data


def read_structure(path: Path) -> VideoStructure:
    """Examine an MP4, MOV, AVI, MKV, WebM or transport stream.

    An unknown structure gives no count. Raises OSError.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(12)
        reader = _Reader(file, size)
        try:
            if head[:4] == b"\x1a\x45\xdf\xa3":
                return _matroska(reader)
            if head[:4] == b"RIFF":
                return _avi(reader)
            if head[:1] == b"\x47" or head[4:5] == b"\x47":
                packet = 188 if head[:1] == b"\x47" else 192
                return VideoStructure(None, size % packet != 0)
            return _mp4(reader)
        except _CutError:
            return VideoStructure(None, cut=True)
        except (ValueError, struct.error, LookupError):
            return VideoStructure()


# ISO base media (MP4, MOV): boxes of size, kind and content.


def _boxes(reader: _Reader, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start and end of the content) of the boxes in a range."""
    while at + 8 <= end:
        size, kind = struct.unpack(">I4s", reader.bytes_at(at, 8))
        start = at + 8
        if size == 1:
            size = struct.unpack(">Q", reader.bytes_at(start, 8))[0]
            start += 8
        elif size == 0:
            size = end - at
        if size < start - at:
            raise ValueError("box without size")
        if at + size > reader.size:
            raise _CutError
        yield kind, start, at + size
        at += size


def _inside(reader: _Reader, at: int, end: int, *kinds: bytes) -> tuple[int, int] | None:
    """Return the range of the first box on a path of kinds."""
    for kind, start, stop in _boxes(reader, at, end):
        if kind == kinds[0]:
            return (start, stop) if len(kinds) == 1 else _inside(reader, start, stop, *kinds[1:])
    return None


def _mp4(reader: _Reader) -> VideoStructure:
    frames: int | None = None
    track = None
    for kind, start, end in _boxes(reader, 0, reader.size):
        if kind == b"moov":
            track, frames = _picture_track(reader, start, end)
        elif kind == b"moof" and track is not None and frames is not None:
            frames += _in_fragment(reader, start, end, track)
    return VideoStructure(frames)


def _picture_track(reader: _Reader, at: int, end: int) -> tuple[int | None, int | None]:
    """Return number and samples of the first picture track; no count if a part is not shown."""
    for kind, start, stop in _boxes(reader, at, end):
        if kind != b"trak":
            continue
        media = _inside(reader, start, stop, b"mdia")
        handler = _inside(reader, *media, b"hdlr") if media else None
        if media is None or handler is None or reader.bytes_at(handler[0], 12)[8:] != b"vide":
            continue
        header = _inside(reader, start, stop, b"tkhd")
        sizes = _inside(reader, *media, b"minf", b"stbl", b"stsz")
        if header is None or sizes is None:
            return None, None
        long = reader.bytes_at(header[0], 1)[0] == 1
        number = struct.unpack(">I", reader.bytes_at(header[0] + (20 if long else 12), 4))[0]
        count = struct.unpack(">I", reader.bytes_at(sizes[0] + 8, 4))[0]
        # A list of edits may leave samples out.
        return number, None if _edits(reader, start, stop) else count
    return None, None


def _edits(reader: _Reader, at: int, end: int) -> bool:
    """Return whether a track shows anything but all of its samples in order."""
    found = _inside(reader, at, end, b"edts", b"elst")
    if found is None:
        return False
    version, count = struct.unpack(">B3xI", reader.bytes_at(found[0], 8))
    if count > 1 or version > 1:
        return bool(count)
    row = ">Qq" if version else ">Ii"
    _, begins = struct.unpack(row, reader.bytes_at(found[0] + 8, struct.calcsize(row)))
    media = _inside(reader, at, end, b"mdia", b"mdhd")
    if media is None or begins < 0:
        return True
    long = reader.bytes_at(media[0], 1)[0] == 1
    per_s = struct.unpack(">I", reader.bytes_at(media[0] + (20 if long else 12), 4))[0]
    # Frames stored in another order than shown begin some of them later.
    return bool(begins > per_s)


def _in_fragment(reader: _Reader, at: int, end: int, track: int) -> int:
    samples = 0
    for kind, start, stop in _boxes(reader, at, end):
        if kind != b"traf":
            continue
        header = _inside(reader, start, stop, b"tfhd")
        if header is None or struct.unpack(">I", reader.bytes_at(header[0] + 4, 4))[0] != track:
            continue
        for inner, first, _ in _boxes(reader, start, stop):
            if inner == b"trun":
                samples += struct.unpack(">I", reader.bytes_at(first + 4, 4))[0]
    return samples


# RIFF (AVI): chunks of kind, size and content, padded to even sizes.


def _avi(reader: _Reader) -> VideoStructure:
    at = frames = 0
    stream = None
    while at + 8 <= reader.size:
        kind, size = struct.unpack("<4sI", reader.bytes_at(at, 8))
        if kind != b"RIFF":
            break
        if at + 8 + size > reader.size or size == 0:
            raise _CutError
        first, count = _in_riff(reader, at + 12, at + 8 + size, stream)
        stream = first if stream is None else stream
        frames += count
        at += 8 + size + size % 2
    return VideoStructure(frames if stream is not None else None)


def _in_riff(reader: _Reader, at: int, end: int, stream: int | None) -> tuple[int | None, int]:
    """Return the number of the picture's stream, and its number of non-empty chunks."""
    frames = number = 0
    while at + 8 <= end:
        kind, size = struct.unpack("<4sI", reader.bytes_at(at, 8))
        if kind == b"LIST" and reader.bytes_at(at + 8, 4) in (b"hdrl", b"strl", b"movi", b"rec "):
            at += 12
            continue
        if kind == b"strh":
            if stream is None and reader.bytes_at(at + 8, 4) == b"vids":
                stream = number
            number += 1
        elif stream is not None and kind in (b"%02ddc" % stream, b"%02ddb" % stream):
            frames += size > 0  # an empty one repeats the previous frame; players do not show it
        at += 8 + size + size % 2
    return stream, frames


# EBML (Matroska, WebM): elements of number, size and content.

_SEGMENT, _TRACKS, _TRACK, _CLUSTER, _GROUP = 0x18538067, 0x1654AE6B, 0xAE, 0x1F43B675, 0xA0
_NUMBER, _KIND, _CODEC, _SIMPLE, _BLOCK = 0xD7, 0x83, 0x86, 0xA3, 0xA1
_ENTERED = (_SEGMENT, _TRACKS, _CLUSTER, _GROUP)
_PICTURE = 1
_HIDES = b"V_VP8"
"""A codec with blocks that are not shown."""


def _matroska(reader: _Reader) -> VideoStructure:
    at = frames = 0
    track = None
    hides = False
    while at < reader.size:
        element, start, size = _element(reader, at)
        if size is not None and start + size > reader.size:
            raise _CutError
        if element in _ENTERED:
            at = start
            continue
        if size is None:
            raise ValueError("an element without end")
        if element == _TRACK and track is None:
            track, hides = _picture_number(reader, start, start + size)
        elif element in (_SIMPLE, _BLOCK) and track is not None:
            head = reader.bytes_at(start, min(size, 8))
            number, length = _number(head, 0)
            frames += number == track
            if head[length + 2] & 0x06 and number == track:
                raise ValueError("several frames in a block")
        at = start + size
    return VideoStructure(None if track is None or hides else frames)


def _picture_number(reader: _Reader, at: int, end: int) -> tuple[int | None, bool]:
    number = kind = None
    codec = b""
    while at < end:
        element, start, size = _element(reader, at)
        if size is None:
            raise ValueError("an element without end")
        if element == _NUMBER:
            number = int.from_bytes(reader.bytes_at(start, size), "big")
        elif element == _KIND:
            kind = int.from_bytes(reader.bytes_at(start, size), "big")
        elif element == _CODEC:
            codec = reader.bytes_at(start, min(size, 64))
        at = start + size
    return (number if kind == _PICTURE else None), codec == _HIDES


def _element(reader: _Reader, at: int) -> tuple[int, int, int | None]:
    """Return an element's number, where its content starts, and its size, None if unknown."""
    head = reader.bytes_at(at, min(12, reader.size - at))
    length = 9 - head[0].bit_length()
    if not 1 <= length <= 4:
        raise ValueError("no element")
    if len(head) < length + 1:
        raise _CutError
    element = int.from_bytes(head[:length], "big")
    size, more = _number(head, length)
    unknown = size == (1 << 7 * more) - 1
    return element, at + length + more, None if unknown else size


def _number(head: bytes, at: int) -> tuple[int, int]:
    """Return a number whose first bits encode its length, and that length."""
    length = 9 - head[at].bit_length()
    if length > 8 or at + length > len(head):
        raise _CutError
    value = int.from_bytes(head[at : at + length], "big")
    return value & (1 << 7 * length) - 1, length

"""A film that is whole is read to its end without a word, one that is cut off is said to be."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeapl.errors import EndOfSource, InputError
from edgeapl.sources.video import VideoSource
from edgeapl.sources.video_structure import VideoStructure, read_structure
from tests.pictures import field, stated_scale

FRAMES = 20
SMALL = [np.ascontiguousarray(field(number)[::2, ::2]) for number in range(FRAMES)]
CASES = Path(__file__).parents[2] / ".." / "shared" / "cases" / "video"
KINDS = {".avi": "MJPG", ".mkv": "MJPG", ".mp4": "mp4v", ".mov": "mp4v", ".ts": "MPG2"}


def write(path: Path, codec: str) -> Path:
    code = cv2.VideoWriter.fourcc(*codec)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 25, (160, 120))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {path.suffix}")
    for pixels in SMALL:
        writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def with_av(path: Path, codec: str, **how: Any) -> Path:
    """Write a film with sound or frames that come when they like.

    times : of each frame, in 1/1000 s. sound_s : seconds of silence. options : of the container.
    """
    av = pytest.importorskip("av")
    times = how.get("times", [40 * number for number in range(FRAMES)])
    with av.open(str(path), "w", options=how.get("options", {})) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        sound = None
        if how.get("sound_s"):
            sound = container.add_stream(how.get("sound", "libopus"), rate=48_000, layout="mono")
        for pixels, at in zip(SMALL, times, strict=False):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            for number in range(50 * how["sound_s"]):
                silence = np.zeros(
                    (1, 960), np.float32 if sound.format.name == "fltp" else np.int16
                )
                block = av.AudioFrame.from_ndarray(silence, format=sound.format.name, layout="mono")
                block.sample_rate, block.pts = 48_000, 960 * number
                container.mux(sound.encode(block))
            container.mux(sound.encode())
    return path


def read(path: Path) -> tuple[int, list[str]]:
    """Give the number of frames, and the errors."""
    source = VideoSource(path, stated_scale)
    frames = 0
    errors: list[str] = []
    while True:
        try:
            source.read(1)
            frames += 1
        except EndOfSource:
            return frames, errors
        except InputError as error:
            errors.append(error.what)


@pytest.mark.parametrize("ending", KINDS)
def test_every_container_is_read_to_its_end(ending: str, tmp_path: Path) -> None:
    assert read(write(tmp_path / f"v{ending}", KINDS[ending])) == (FRAMES, [])


@pytest.mark.parametrize("ending", KINDS)
def test_half_a_film_is_said(ending: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"v{ending}", KINDS[ending])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 // 188 * 188 + 50])
    try:
        frames, errors = read(path)
    except InputError as error:
        frames, errors = 0, [error.what]
    assert frames < FRAMES
    # An index that stood at the end is gone, and nothing can be shown.
    assert errors[-1].startswith(("video ends early (", "video cannot be played"))


SLOW = [40 * number + (number > 10) * 3000 for number in range(FRAMES)]
WITH_AV: dict[str, tuple[str, str, dict[str, Any]]] = {
    "long sound": ("v.mkv", "libx264", {"sound_s": 7}),
    "long sound in mp4": ("v.mp4", "libx264", {"sound_s": 7, "sound": "aac"}),
    "variable rate": ("v.mkv", "libx264", {"times": SLOW}),
    "variable rate in mp4": ("v.mp4", "libx264", {"times": SLOW}),
    "a browser's": ("v.webm", "libvpx", {"times": SLOW, "options": {"live": "1"}}),
    "a browser's, new": ("v.webm", "libvpx-vp9", {"options": {"live": "1"}, "sound_s": 3}),
    "in fragments": (
        "v.mp4",
        "libx264",
        {"options": {"movflags": "frag_keyframe+empty_moov"}, "times": SLOW},
    ),
    "for the web": ("v.mp4", "libx264", {"options": {"movflags": "faststart"}}),
    "transport": ("v.ts", "libx264", {"times": SLOW}),
}


@pytest.mark.parametrize("name", WITH_AV)
def test_films_whose_length_is_an_estimate_are_whole(name: str, tmp_path: Path) -> None:
    file, codec, how = WITH_AV[name]
    assert read(with_av(tmp_path / file, codec, **how)) == (FRAMES, [])


@pytest.mark.parametrize("name", ["long sound", "a browser's, new", "in fragments", "for the web"])
def test_half_of_them_is_said(name: str, tmp_path: Path) -> None:
    file, codec, how = WITH_AV[name]
    path = with_av(tmp_path / file, codec, **how)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    frames, errors = read(path)
    assert frames < FRAMES
    assert errors[-1].startswith("video ends early (")


def test_a_film_with_long_sound_is_all_there() -> None:
    path = CASES / "long_sound.mkv"
    if not path.is_file():
        pytest.skip("the case is not here")
    assert read(path) == (20, [])


@pytest.mark.parametrize(
    "data",
    [
        b"\x1a\x45\xdf\xa3" + bytes(300),
        b"RIFF" + bytes(300),
        struct.pack(">I4s", 4, b"ftyp") + bytes(300),
        struct.pack(">I4s", 8, b"ftyp") * 1000,
        b"\x1a\x45\xdf\xa3\x80" * 1000,
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff" + b"\x1f\x43\xb6\x75\xff" * 500,
    ],
)
def test_a_structure_that_is_not_understood_counts_nothing(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(data)
    assert read_structure(path).frames is None


def test_empty_chunks_of_an_avi_are_no_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "v.avi", "MJPG")
    assert read_structure(path) == VideoStructure(FRAMES)
    data = path.read_bytes()
    at = data.index(b"idx1")
    # Between the pictures and the index: two frames that the camera dropped.
    grown = struct.unpack("<I", data[4:8])[0] + 16
    empty = b"00dc" + bytes(4)
    path.write_bytes(b"RIFF" + struct.pack("<I", grown) + data[8:at] + empty * 2 + data[at:])
    assert read_structure(path) == VideoStructure(FRAMES)

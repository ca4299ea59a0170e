"""Folders that fill up, videos, cameras and addresses keep their special promises."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeapl.errors import (
    CameraError,
    ConfigError,
    EdgeAplError,
    EndOfSource,
    InputError,
    SourceStalled,
)
from edgeapl.sources.address import open_source
from edgeapl.sources.camera import CameraSource, open_camera
from edgeapl.sources.decode import DecodedImage
from edgeapl.sources.folder import PATIENCE_S, SETTLED_S, FolderSource
from edgeapl.sources.frames import frame_of_image
from edgeapl.sources.video import VideoSource
from edgeapl.testing import FakeClock
from edgeapl.types import ScaleOrigin, UInt8
from tests.pictures import encoded, field, stated_scale


class Station:
    """A folder that files appear in, with a clock that only moves when told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.source = FolderSource(folder, stated_scale, self.clock)

    def save(self, name: str, data: bytes, modified: int) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        os.utime(path, ns=(modified, modified))
        return path

    def names(self, seconds: float = 2.0) -> list[str]:
        """Read until nothing comes for some seconds."""
        names = []
        while True:
            try:
                names.append(Path(self.source.read(seconds).source).name)
            except SourceStalled:
                return names


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def test_files_are_given_in_the_order_of_their_time(station: Station) -> None:
    station.save("b.png", encoded(".png", field(1)), 100)
    station.save("a.png", encoded(".png", field(2)), 200)
    station.save(".hidden.png", b"", 1)
    station.save("notes.txt", b"", 1)
    assert station.names() == ["b.png", "a.png"]
    station.save("0.png", encoded(".png", field(3)), 300)
    assert station.names() == ["0.png"]


def test_a_file_is_left_alone_until_it_stops_changing(station: Station) -> None:
    data = encoded(".png", field(1))
    for number, length in enumerate((10, len(data) // 2, len(data) - 1), start=1):
        station.save("a.png", data[:length], number)
        with pytest.raises(SourceStalled):
            station.source.read(SETTLED_S * 0.8)
    station.save("a.png", data, 9)
    assert station.names() == ["a.png"]


def test_a_picture_that_is_replaced_at_once_is_given_once(station: Station) -> None:
    station.save("a.png", encoded(".png", field(1)), 1)
    with pytest.raises(SourceStalled):
        station.source.read(SETTLED_S * 0.6)
    path = station.save("a.png", encoded(".png", field(2)), 2)
    only = station.source.read(2)
    assert only.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert station.names() == []


def test_a_slow_writer_is_waited_for(station: Station) -> None:
    data = encoded(".png", field(1))
    station.save("a.png", data[:99], 1)
    assert station.names(PATIENCE_S * 0.6) == []
    station.save("a.png", data, 2)
    assert station.names() == ["a.png"]


def test_a_bad_file_is_reported_once_and_does_not_hold_the_others(station: Station) -> None:
    station.save("bad.png", b"not a picture", 1)
    station.save("good.png", encoded(".png", field(1)), 2)
    assert Path(station.source.read(2).source).name == "good.png"
    with pytest.raises(InputError, match="not an image"):
        station.source.read(PATIENCE_S + 1)
    assert station.names() == []


def test_a_file_written_again_is_a_new_frame(station: Station) -> None:
    station.save("live.png", encoded(".png", field(1)), 1)
    first = station.source.read(2)
    station.save("live.png", encoded(".png", field(2)), 2)
    second = station.source.read(2)
    assert (first.index, second.index) == (0, 1)
    assert first.digest != second.digest


def test_a_pipe_in_the_folder_does_not_hold_the_source(station: Station) -> None:
    os.mkfifo(station.folder / "pipe.png")
    with pytest.raises(InputError, match="a named pipe"):
        station.source.read(PATIENCE_S + 1)


def test_a_folder_that_goes_away_is_an_error_of_the_source(station: Station) -> None:
    station.folder.rmdir()
    with pytest.raises(CameraError, match="folder cannot be read"):
        station.source.read(1)


def write_video(path: Path, frames: int, codec: str = "MJPG") -> bytes:
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 10, (320, 240)
    )
    assert writer.isOpened()
    for number in range(frames):
        writer.write(cv2.cvtColor(field(number), cv2.COLOR_RGB2BGR))
    writer.release()
    return path.read_bytes()


def read_all(source: VideoSource) -> tuple[list[int], list[str]]:
    """Give the indices of the frames and the errors met."""
    indices: list[int] = []
    errors: list[str] = []
    while True:
        try:
            indices.append(source.read(1).index)
        except EndOfSource:
            return indices, errors
        except InputError as error:
            errors.append(error.what)


@pytest.mark.parametrize(("every", "count"), [(1, 7), (3, 3)])
def test_a_video_gives_every_nth_frame_in_its_colours(
    every: int, count: int, tmp_path: Path
) -> None:
    path = tmp_path / "v.avi"
    write_video(path, 7)
    with VideoSource(path, stated_scale, every=every) as source:
        first = source.read(1)
        assert np.abs(first.pixels.astype(int) - field(0)).mean() < 6
        assert read_all(source) == (list(range(1, count)), [])
        assert not source.live


def test_a_video_that_ends_early_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "v.avi"
    data = write_video(path, 30)
    path.write_bytes(data[: len(data) // 2])
    indices, errors = read_all(VideoSource(path, stated_scale))
    assert 5 < len(indices) < 25
    assert errors[-1].startswith("video ends early (")
    assert capfd.readouterr().err == ""


def test_a_damaged_frame_of_a_video_is_left_out_and_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "v.mp4"
    data = write_video(path, 20, "mp4v")
    half = len(data) // 2
    path.write_bytes(data[:half] + bytes(300) + data[half + 300 :])
    indices, errors = read_all(VideoSource(path, stated_scale))
    assert errors
    assert all(error.startswith("video frame is damaged (") for error in errors)
    assert len(indices) + len(errors) >= 19
    assert capfd.readouterr().err == ""


class Device:
    """A camera that gives pictures when told, and then fails or hangs."""

    def __init__(self, pictures: list[Any], *, hang: bool = False) -> None:
        self.pictures = pictures
        self.wake = threading.Event()
        self.hang = hang
        self.released = threading.Event()

    def read(self) -> tuple[bool, Any]:
        if self.pictures:
            return True, self.pictures.pop(0)
        if self.hang:
            self.wake.wait(10)
        return False, None

    def release(self) -> None:
        self.released.set()


def camera(device: Device) -> CameraSource:
    return CameraSource(0, stated_scale, open_device=lambda number: device)


def picture(seed: int = 0) -> UInt8:
    return np.asarray(cv2.cvtColor(field(seed), cv2.COLOR_RGB2BGR), np.uint8)


def test_a_camera_gives_the_newest_picture_and_a_gap_shows_the_others() -> None:
    device = Device([picture(0), picture(1), picture(2)], hang=True)
    with camera(device) as source:
        while (newest := source.read(5)).index < 2:
            pass
        assert np.array_equal(newest.pixels, field(2))
        with pytest.raises(SourceStalled):
            source.read(0.05)
        device.wake.set()
    assert device.released.wait(5)


def test_a_camera_that_stops_is_lost_for_good() -> None:
    with camera(Device([])) as source:
        for _ in range(2):
            with pytest.raises(CameraError, match="gives no more pictures"):
                source.read(5)


def test_a_camera_of_another_kind_is_refused() -> None:
    source = camera(Device([np.zeros((9, 9), np.uint8)]))
    with source, pytest.raises(CameraError, match="no 8-bit colour"):
        source.read(5)


def test_what_breaks_in_the_camera_thread_is_raised_to_the_reader() -> None:
    source = camera(Device([object()]))
    with source, pytest.raises(AttributeError):
        source.read(5)


def test_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(CameraError, match="no such camera: /dev/video987: cameras here: "):
        open_camera(987)


@pytest.mark.parametrize(
    ("address", "error", "what"),
    [
        ("http://10.0.0.1/video", ConfigError, "source is not understood"),
        ("ftp://10.0.0.1/live", ConfigError, "source is not understood"),
        ("none/*.png", InputError, "no image matches"),
        ("replay://none", InputError, "no such folder"),
        ("replay://.?fps=0", ConfigError, "option is wrong"),
        ("concat:a.avi|b.avi", ConfigError, "source is not understood"),
        ("file:///etc/passwd", ConfigError, "source is not understood"),
        ("", ConfigError, "source is not understood"),
        ("a\0b", ConfigError, "source is not understood"),
        ("demo://nothing", ConfigError, "demo"),
        ("987", CameraError, "no such camera"),
        ("is/not/there", InputError, "does not exist"),
        ("notes.txt", ConfigError, "source is not understood"),
        ("playlist.mp4", InputError, "not a video"),
        ("broken.avi", InputError, "cannot be played"),
    ],
)
def test_an_address_that_can_not_be_opened_is_refused_in_one_line(
    address: str,
    error: type[EdgeAplError],
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("x")
    Path("playlist.mp4").write_text("#EXTM3U\nhttp://10.0.0.1/a.ts\n")
    Path("broken.avi").write_bytes(b"RIFF\0\0\0\0AVI LIST")
    with pytest.raises(error, match=what) as caught:
        open_source(address, scale_for=stated_scale)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_scale_stated_by_the_user_wins_then_the_files_own_then_the_measured() -> None:
    pixels = field(0)

    def scale(origin: ScaleOrigin, own: float | None) -> tuple[float, ScaleOrigin]:
        made = frame_of_image(
            DecodedImage(pixels, "0" * 64, own), index=0, captured_ns=0, source="a.png",
            scale_for=lambda _: (0.2, origin),
        )  # fmt: skip
        return made.um_per_px, made.scale

    assert scale(ScaleOrigin.STATED, 0.1) == (0.2, ScaleOrigin.STATED)
    assert scale(ScaleOrigin.MEASURED, 0.1) == (0.1, ScaleOrigin.STATED)
    assert scale(ScaleOrigin.MEASURED, None) == (0.2, ScaleOrigin.MEASURED)

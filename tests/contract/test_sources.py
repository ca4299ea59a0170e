"""Every source of frames keeps the same promises."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeapl.errors import EndOfSource, SourceStalled
from edgeapl.protocols import FrameSource
from edgeapl.sources.address import open_source
from edgeapl.sources.camera import CameraSource
from edgeapl.sources.files import FilesSource
from edgeapl.sources.folder import FolderSource
from edgeapl.sources.video import VideoSource
from edgeapl.testing import FakeClock, ScriptedSource
from edgeapl.types import Frame
from tests.pictures import encoded, field, frame, stated_scale

Make = Callable[[Path], FrameSource]

COUNT = 3


def write_images(folder: Path) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{number}.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        path.write_bytes(encoded(".png", field(number)))
    return paths


def files(folder: Path) -> FrameSource:
    return FilesSource(write_images(folder / "files"), "files", stated_scale)


def growing_folder(folder: Path) -> FrameSource:
    write_images(folder / "growing")
    return FolderSource(folder / "growing", stated_scale, FakeClock())


def video(folder: Path) -> FrameSource:
    path = folder / "v.avi"
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240)
    )
    for number in range(COUNT):
        writer.write(cv2.cvtColor(field(number), cv2.COLOR_RGB2BGR))
    writer.release()
    return VideoSource(path, stated_scale)


class _Device:
    """Gives one picture whenever the last one was taken, then hangs until it is closed."""

    def __init__(self) -> None:
        self.left = COUNT
        self.closing = False
        self.next = threading.Semaphore(1)

    def read(self) -> tuple[bool, Any]:
        self.next.acquire()
        if self.closing:
            return False, None
        self.left -= 1
        return True, cv2.cvtColor(field(self.left), cv2.COLOR_RGB2BGR)

    def release(self) -> None:
        self.left = 0


class _Camera(CameraSource):
    def __init__(self) -> None:
        self.device = _Device()
        super().__init__(0, stated_scale, open_device=lambda number: self.device)

    def read(self, timeout_s: float) -> Frame:
        taken = super().read(timeout_s)
        if self.device.left > 0:
            self.device.next.release()
        return taken

    def close(self) -> None:
        self.device.closing = True
        self.device.next.release()
        super().close()


def camera(folder: Path) -> FrameSource:
    return _Camera()


def demo(folder: Path) -> FrameSource:
    address = f"demo://apl?seed=1&frames={COUNT}&width=320&height=240"
    return open_source(address, scale_for=stated_scale)


def scripted(folder: Path) -> FrameSource:
    return ScriptedSource([frame(field(number), number) for number in range(COUNT)])


@pytest.fixture(params=[files, growing_folder, video, camera, demo, scripted])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> FrameSource:
    make: Make = request.param
    return make(tmp_path)


def read_all(source: FrameSource) -> list[Frame]:
    """Read to the end of a source, or until a live one gives nothing for a while."""
    frames = []
    while True:
        try:
            frames.append(source.read(2.0))
        except (EndOfSource, SourceStalled):
            return frames


def test_it_is_a_source_with_a_name_and_closes_itself(source: Any) -> None:
    with source as entered:
        assert entered is source
        assert isinstance(source, FrameSource)
        assert source.name
        assert isinstance(source.live, bool)
    with pytest.raises(EndOfSource):
        source.read(2.0)


def test_frames_come_in_order_with_growing_index_and_time(source: FrameSource) -> None:
    with closing(source):
        frames = read_all(source)
    assert [made.index for made in frames] == list(range(COUNT))
    times = [made.captured_ns for made in frames]
    assert times == sorted(times)


def test_frames_are_read_only_rgb_with_scale_source_and_digest(source: FrameSource) -> None:
    with closing(source):
        frames = read_all(source)
    for made in frames:
        assert made.pixels.dtype == np.uint8
        assert made.um_per_px > 0
        assert made.source
        with pytest.raises(ValueError, match="read-only"):
            made.pixels[0, 0] = 0
    digests = {made.digest for made in frames}
    assert len(digests) == COUNT
    assert all(len(digest) == 64 for digest in digests)


def test_a_frame_keeps_its_pixels_when_the_next_is_read(source: FrameSource) -> None:
    with closing(source):
        first = source.read(2.0)
        before = first.pixels.copy()
        read_all(source)
    assert np.array_equal(first.pixels, before)


def test_the_end_stays_the_end_or_a_live_source_stalls(source: FrameSource) -> None:
    with closing(source):
        read_all(source)
        for _ in range(3):
            with pytest.raises(SourceStalled if source.live else EndOfSource):
                source.read(0.05)


def test_closing_ends_the_source_and_may_be_done_twice(source: FrameSource) -> None:
    source.read(2.0)
    source.close()
    source.close()
    for _ in range(2):
        with pytest.raises(EndOfSource):
            source.read(2.0)
